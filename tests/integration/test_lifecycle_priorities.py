"""A priority that is changed: a new place in every line, and nothing else of a task."""

from __future__ import annotations

import pytest
from rows import NOW, after, assigned, carry_out, content, done, pending, row, session

from queueapp import doorbell, lifecycle, limits
from queueapp.domain.states import Action
from queueapp.models import ChangedKey, Route
from queueapp.operations import start
from queueapp.ready import ready_tasks

pytestmark = pytest.mark.django_db


def next_in_line(count=10):
    room = dict.fromkeys(Route.objects.values_list("id", flat=True), count)
    return [task.task_id for task in ready_tasks(room, count)]


class TestPrioritise:
    def test_gives_the_live_tasks_the_priority_and_says_which_had_another(self):
        first, second, third = *pending(2), *pending(priority=7)
        assert lifecycle.prioritise([first, third], 7) == {first}
        assert [row(each).priority for each in (first, second, third)] == [7, 0, 7]

    def test_changes_the_place_in_line_at_once(self):
        first, second, third = pending(3)
        lifecycle.prioritise([third], 1)
        lifecycle.prioritise([first], -1)
        assert next_in_line() == [third, second, first]

    def test_leaves_what_has_ended_as_it_is(self):
        worker = session()
        (ended,) = assigned(worker)
        assert lifecycle.finish([done(worker, ended)], after(1)) == ["accepted"]
        (cancelled,) = pending()
        lifecycle.cancel([cancelled], after(1))
        before = content([ended, cancelled])
        assert lifecycle.prioritise([ended, cancelled], 7) == set()
        assert content([ended, cancelled]) == before

    def test_changes_nothing_else_of_a_task_and_takes_none_from_its_worker(self):
        worker = session()
        ids = [*assigned(worker), *pending(), *pending(delay=60), *pending(concurrency_key="k")]
        before = content(ids)
        assert lifecycle.prioritise(ids, 7) == set(ids)
        assert content(ids) == [{**each, "priority": 7} for each in before]

    def test_counts_for_the_attempts_to_come(self):
        worker = session()
        (held,) = assigned(worker)
        others = pending(2)
        lifecycle.prioritise([held], 1)
        assert lifecycle.release([(worker.id, held)], after(1)) == 1
        assert next_in_line() == [held, *others]

    def test_rings_for_the_routes(self, django_capture_on_commit_callbacks):
        (task_id,) = pending()
        with doorbell.held() as rings, django_capture_on_commit_callbacks(execute=True):
            lifecycle.prioritise([task_id], 7)
        assert doorbell.merged(rings).routes == {row(task_id).route_id}

    def test_has_the_line_of_a_concurrency_key_looked_at_again(self):
        first, second = pending(2, concurrency_key="k")
        while limits.settle([]).more:
            pass
        assert (row(first).held_back, row(second).held_back) == (False, True)
        assert not ChangedKey.objects.exists()
        lifecycle.prioritise([second], 1)
        assert ChangedKey.objects.filter(name="tag", key="k").exists()
        limits.settle([])
        assert not row(second).held_back


class TestAsAnOperation:
    def test_it_is_carried_out_in_steps_and_counts_what_had_the_priority_already(self):
        pending(3), pending(2, priority=7), pending(2, name="other")
        operation = start(
            Action.PRIORITISE, {"name": "tag"}, tasks_of=None, names=None, asked_by="a test", now=NOW, priority=7
        )
        ended = carry_out(operation.id)
        assert (ended.state, ended.total, ended.done, ended.unchanged) == ("done", 5, 5, 2)
