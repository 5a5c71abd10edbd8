"""Finding tasks for operators: every filter on both databases, pages forward and back, and bounds."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest
from rows import NOW, assign, assigned, pending, session

from queueapp import lifecycle, portions, searching
from queueapp.domain.errors import InvalidFilter
from queueapp.domain.filter_text import parse
from queueapp.lifecycle import Report
from queueapp.models import Task, WorkerSession
from queueapp.models.fields import first_id_at
from queueapp.searching import Page, page

pytestmark = pytest.mark.django_db


def found(text: str) -> set[UUID]:
    reading = parse(text)
    assert reading.problems == ()
    return set(page(reading.document, NOW).ids)


def fail(task_ids: list[UUID], worker: WorkerSession, error: str) -> None:
    reports = [Report(worker.id, task_id, done=False, error=error) for task_id in task_ids]
    assert set(lifecycle.finish(reports, NOW)) == {"accepted"}


class TestFilters:
    def test_by_state(self) -> None:
        worker = session()
        (waiting,), (held,) = pending(1), assigned(worker, 1)
        failed = assigned(worker, 1)
        fail(failed, worker, "x")
        (cancelled,) = pending(1)
        lifecycle.cancel([cancelled], NOW)
        assert found("state:pending") == {waiting}
        assert found("state:assigned") == {held}
        assert found("state:failed") == set(failed)
        assert found("state:failed,cancelled") == {*failed, cancelled}
        assert found("state:pending,failed") == {waiting, *failed}
        assert found("") == {waiting, held, *failed, cancelled}

    def test_by_state_pending_where_it_is_delayed_or_held_back(self) -> None:
        everything = {*pending(1), *pending(1, delay=60), *pending(2, concurrency_key="k")}
        assert found("state:pending") == everything

    def test_by_name_whole_and_by_its_beginning(self) -> None:
        tag, tagged, other = pending(1, name="tag"), pending(1, name="tag.x"), pending(1, name="other")
        assert found("name:tag") == set(tag)
        assert found("name:tag,other") == {*tag, *other}
        assert found("name:tag*") == found("tag") == {*tag, *tagged}
        assert found("name:tag state:pending") == set(tag)

    def test_by_attributes(self) -> None:
        aws, gcp = pending(1, attrs={"cloud": "aws"}), pending(1, attrs={"cloud": "gcp"})
        comma = pending(1, attrs={"cloud": "aws,gcp"})
        assert found("attr.cloud:aws") == found("cloud=aws") == set(aws)
        assert found("attr.cloud:aws,gcp") == {*aws, *gcp}
        assert found('attr.cloud:"aws,gcp"') == set(comma)

    def test_by_error(self) -> None:
        worker = session()
        lost, other = assigned(worker, 1), assigned(worker, 1)
        fail(lost, worker, "Connection TIMEOUT, 100%")
        fail(other, worker, "timeout")
        assert found("error:~timeout") == {*lost, *other}
        assert found("error:timeout") == set(other)
        assert found("error:~100%") == set(lost)
        assert found("error:~10_%") == set()

    def test_by_worker_what_it_holds_and_what_ended_on_it(self) -> None:
        worker, other = session(name="w7"), session(name="w8")
        held, ended = assigned(worker, 1), assigned(worker, 1)
        fail(ended, worker, "x")
        elsewhere = assigned(other, 1)
        assert found("worker:w7") == found(f"worker:{worker.id}") == {*held, *ended}
        assert found("worker:w7,w8") == {*held, *ended, *elsewhere}
        assert found("worker:w7 state:assigned") == set(held)
        assert found("worker:nobody") == set()

    def test_by_age(self) -> None:
        old, young = made_at(hours=2), made_at(minutes=2)
        assert found("age:>1h") == {old}
        assert found("age:<1h") == {young}
        assert found("age:>1m") == {old, young}

    def test_by_the_time_of_creation(self) -> None:
        old, young = made_at(days=3), made_at(hours=1)
        day = NOW - timedelta(days=3)
        assert found(f"created:{day:%Y-%m-%d}") == {old}
        assert found(f"created:>{NOW - timedelta(hours=2):%Y-%m-%dT%H:%MZ}") == {young}
        assert found(f"created:<{NOW - timedelta(hours=2):%Y-%m-%dT%H:%M}") == {old}
        assert found(f"created_before:{NOW - timedelta(hours=2):%Y-%m-%dT%H:%M:%SZ}") == {old}

    def test_by_how_long_it_waits_leaves_out_what_is_not_ready(self) -> None:
        long_, short, delayed = pending(1), pending(1), pending(1, delay=60)
        hour_ago = NOW - timedelta(hours=1)
        Task.objects.filter(pk__in=[*long_, *delayed]).update(waiting_since=hour_ago)
        assert found("waiting:>5m") == set(long_)
        assert found("waiting:<5m") == set(short)

    def test_by_when_it_ended(self) -> None:
        worker = session()
        ended, before = assigned(worker, 1), assigned(worker, 1)
        fail([*ended, *before], worker, "x")
        Task.objects.filter(pk__in=before).update(finished_at=NOW - timedelta(hours=2))
        assert found("state:failed finished:<1h") == set(ended)

    def test_by_tag(self) -> None:
        x, y = pending(1, tags=["x", "q"]), pending(1, tags=["y"])
        assert found("tag:x") == set(x)
        assert found("tag:x,y") == {*x, *y}

    def test_by_id(self) -> None:
        first, second, _ = pending(3)
        assert found(str(first)) == {first}
        assert found(f"id:{first},{second}") == {first, second}
        assert found(f"id:{first} state:failed") == set()

    @pytest.mark.parametrize(
        ("data", "text", "is_found"),
        [
            ('{"node":{"id":"x"}}', "data.node.id:x", True),
            ('{"node":{"id":"y"}}', "data.node.id:x", False),
            ('{"node":{"id":"y"}}', "data.node.id:x,y", True),
            ('{"node":{}}', "data.node.id:x", False),
            ('{"node":"id"}', "data.node.id:x", False),
            ('"x"', "data.node.id:x", False),
            ("null", "data.node.id:x", False),
            ('{"n":12}', "data.n:12", True),
            ('{"n":1.50}', "data.n:1.50", True),
            ('{"n":123456789012345678901234567890}', "data.n:123456789012345678901234567890", True),
            ('{"n":"12"}', "data.n:12", True),
            ('{"ok":true}', "data.ok:true", True),
            ('{"ok":false}', "data.ok:true", False),
            ('{"ok":null}', "data.ok:null", False),
            ('{"nodes":[{"id":"a"},{"id":"x"}]}', "data.nodes.1.id:x", True),
            ('{"nodes":[{"id":"x"}]}', "data.nodes.1.id:x", False),
            ('{"a b":"c d"}', 'data."a b":"c d"', True),
            ('{"n":"\\u00e9\\n"}', 'data.n:"é\n"', True),
            ('{"it\'s":"%"}', 'data."it\'s":%', True),
            ('{"n":1e999}', "data.n:2", False),
        ],
    )
    def test_by_what_is_in_the_data(self, data: str, text: str, is_found: bool) -> None:
        (task_id,) = pending(1)
        Task.objects.filter(pk=task_id).update(data=data)
        assert found(text) == ({task_id} if is_found else set())

    def test_all_of_them_must_match(self) -> None:
        (wanted,) = pending(1, name="tag", attrs={"cloud": "aws"}, tags=["x"])
        pending(1, name="tag", attrs={"cloud": "aws"})
        pending(1, name="other", attrs={"cloud": "aws"}, tags=["x"])
        assert found("name:tag attr.cloud:aws tag:x state:pending") == {wanted}

    def test_that_cannot_be_used_are_refused(self) -> None:
        for document in ({"state": "nonsense"}, {"nonsense": "x"}, {"age": [">1h", ">2h"]}, {"tag": 7}):
            with pytest.raises(InvalidFilter):
                page(document, NOW)


@pytest.mark.parametrize("text", ["", "state:pending", "state:failed", "attr.n:1"], ids=lambda text: text or "all")
class TestPages:
    @pytest.fixture
    def tasks(self) -> list[UUID]:
        """Newest first; each matches each of the filters but for its state."""
        return sorted(pending(130, attrs={"n": "1"}), reverse=True)

    @pytest.fixture(autouse=True)
    def states(self, text: str, tasks: list[UUID]) -> None:
        if text == "state:failed":
            worker = session(max_outstanding=200)
            assign(tasks, worker)
            fail(tasks, worker, "x")

    def test_follow_each_other_and_lead_back(self, text: str, tasks: list[UUID]) -> None:
        document = parse(text).document
        first = page(document, NOW)
        assert (first.ids, first.newer, first.looked_at) == (tasks[:50], None, None)
        second = page(document, NOW, before=first.older)
        assert second.ids == tasks[50:100]
        third = page(document, NOW, before=second.older)
        assert (third.ids, third.older) == (tasks[100:], None)
        back = page(document, NOW, after=third.newer)
        assert (back.ids, back.older) == (tasks[50:100], tasks[99])
        assert page(document, NOW, after=back.newer) == first

    def test_are_full_at_the_newest_end(self, text: str, tasks: list[UUID]) -> None:
        assert page(parse(text).document, NOW, after=tasks[10]).ids == tasks[:50]

    def test_do_not_shift_when_tasks_come(self, text: str, tasks: list[UUID]) -> None:
        document = parse(text).document
        first = page(document, NOW)
        pending(3, attrs={"n": "1"})
        assert page(document, NOW, before=first.older).ids == tasks[50:100]


class TestASearchWithoutTime:
    @pytest.fixture(autouse=True)
    def no_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(portions, "SECONDS", 0)
        monkeypatch.setattr(searching, "FIRST_PORTION", 10)

    def test_says_how_far_it_has_come_and_goes_on_there(self) -> None:
        (oldest,) = pending(1, attrs={"cloud": "aws"})
        others = sorted(pending(15), reverse=True)
        (newest,) = pending(1, attrs={"cloud": "aws"})
        document = parse("attr.cloud:aws").document
        first = page(document, NOW)
        assert first == Page([newest], older=others[8], looked_at=10)
        assert page(document, NOW, before=first.older) == Page([oldest], newer=oldest)

    def test_goes_on_to_newer_ones_too(self) -> None:
        others = sorted(pending(25), reverse=True)
        document = parse("attr.cloud:aws").document
        assert page(document, NOW, after=others[-1]) == Page([], others[-1], others[14], looked_at=10)

    def test_is_not_needed_where_an_index_knows_all_that_can_match(self) -> None:
        worker = session()
        failed, held, waiting = assigned(worker, 1), assigned(worker, 1), pending(1)
        fail(failed, worker, "x")
        Task.objects.filter(pk__in=pending(25)).update(state="succeeded", finished_at=NOW)
        assert page({"state": "failed"}, NOW) == Page(failed)
        assert page({"state": "assigned"}, NOW) == Page(held)
        assert page({"state": "pending"}, NOW) == Page(waiting)
        assert page({"id": str(failed[0])}, NOW) == Page(failed)

    def test_begins_and_ends_where_tasks_were_created(self) -> None:
        old = made_at(days=3)
        for hours in range(12):
            made_at(hours=hours)
        day = f"{NOW - timedelta(days=3):%Y-%m-%d}"
        assert page({"created": day, "name": "tag"}, NOW).ids == [old]
        assert page({"created": f"<{NOW - timedelta(days=4):%Y-%m-%d}"}, NOW) == Page([])

    def test_looks_at_all_tasks_where_too_many_wait(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(searching, "FEW_TASKS", 5)
        waiting = sorted(pending(25), reverse=True)
        assert page({"state": "pending"}, NOW).looked_at == 10
        assert page({"state": "pending"}, NOW).ids == waiting[:10]

    def test_counts_of_many_that_wait_those_of_the_names_it_is_asked_for(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(searching, "FEW_TASKS", 5)
        (wanted,) = pending(1, name="other")
        pending(25)
        assert page({"state": "pending", "name": "other"}, NOW) == Page([wanted])


def made_at(**ago: float) -> UUID:
    """A task that was submitted then: with such an id, too."""
    (task_id,), moment = pending(1), NOW - timedelta(**ago)
    then = UUID(int=first_id_at(moment).int | (task_id.int & (1 << 80) - 1))
    Task.objects.filter(pk=task_id).update(id=then, created_at=moment)
    return then
