"""Sessions that end with more tasks than one transaction may take back: they do so in several."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from unittest.mock import patch
from uuid import UUID

import pytest
from django.db import OperationalError, connection, transaction
from fleet import Fleet, holder_of, holders, submit

from queueapp import access, database, doorbell, inbox, lifecycle, maintenance, sessions
from queueapp.auth import create_key
from queueapp.domain.states import Outcome, SessionState
from queueapp.inbox import Inbox
from queueapp.lifecycle import Report, activity
from queueapp.models import ApiKey, Attempt, Node, Task, WorkerSession, new_id
from queueapp.passes import Outbox
from queueapp.registration import parse_query
from queueapp.sessions import Attachment, Closing

pytestmark = pytest.mark.django_db(transaction=True)

MANY = 30
TICK = Inbox(tick=True)


@pytest.fixture(autouse=True)
def _small_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions, "TASKS_AT_ONCE", 3)
    monkeypatch.setattr(sessions, "ENDED_AT_ONCE", 2)


@pytest.fixture
def closed() -> Iterator[list[UUID]]:
    """Of which sessions the doorbell says that they were closed."""
    heard: list[UUID] = []
    unlisten = doorbell.listen(lambda news: heard.extend(session_id for session_id, *_ in news.closed))
    yield heard
    unlisten()


def state_of(session_id: UUID) -> str:
    return WorkerSession.objects.get(pk=session_id).state


def lost(*session_ids: UUID) -> list[Closing]:
    return [Closing(session_id, Outcome.LOST, 1006, "broken pipe") for session_id in session_ids]


def passes(fleet: Fleet, inbox: Inbox) -> Iterator[Outbox]:
    """As the hub runs them, until there is nothing more to do."""
    outbox = fleet.process.run(inbox)
    yield outbox
    for _ in range(MANY):
        if not (outbox.left or outbox.more):
            return
        outbox = fleet.process.run(outbox.left)
        yield outbox
    raise AssertionError("They go on and on.")


class TestOneWorker:
    def test_gives_back_a_part_of_its_tasks_after_the_other_and_ends_with_the_last(self, fleet):
        (worker,) = fleet.attach("task=t&_max_outstanding=10")
        submit(7)
        fleet.run()
        seen = [(holders()[worker], state_of(worker)) for _ in passes(fleet, Inbox(closings=lost(worker)))]
        assert seen == [(4, SessionState.DRAINING), (1, SessionState.DRAINING), (0, SessionState.GONE)]
        gone = WorkerSession.objects.get(pk=worker)
        assert (gone.close_code, gone.close_reason) == (1006, "broken pipe")
        assert list(Attempt.objects.values_list("outcome", "worker")) == [("lost", worker)] * 7

    def test_is_given_nothing_more_meanwhile(self, fleet):
        """Guard: `close_some` drains what it leaves. Else it would be given again what it has just given back."""
        (worker,) = fleet.attach("task=t&_max_outstanding=10")
        submit(7)
        fleet.run()
        (heir,) = fleet.attach("task=t&_max_outstanding=2")
        outboxes = list(passes(fleet, Inbox(closings=lost(worker))))
        assert [{each.task.session_id for each in outbox.assignments} for outbox in outboxes] == [
            {heir},
            set(),
            set(),
        ]
        assert holders() == {heir: 2}

    def test_that_an_operator_disconnects_in_a_transaction_ends_when_that_is_committed(self, fleet, closed):
        """Guard: `disconnect` does the rest on commit. In one transaction all would wait for it, and its tasks be
        locked in no order."""
        (worker,) = fleet.attach("task=t&_max_outstanding=10")
        submit(7)
        fleet.run()
        with transaction.atomic():
            assert sessions.disconnect([worker], database.now()) == {worker}
            assert (state_of(worker), holders()[worker]) == (SessionState.DRAINING, 4)
        assert (closed, state_of(worker), holders()) == ([worker], SessionState.GONE, {})

    def test_that_an_operator_disconnects_ends_at_once_as_the_operator_sees_it(self, fleet, closed):
        (worker,) = fleet.attach("task=t&_max_outstanding=10")
        submit(7)
        fleet.run()
        assert sessions.disconnect([worker], database.now()) == {worker}
        assert (closed, state_of(worker), holders()) == ([worker], SessionState.GONE, {})
        assert set(Task.objects.values_list("attempts_used", flat=True)) == {0}

    def test_whose_key_no_longer_reaches_so_far_is_not_noted_as_within_its_reach(self, fleet, closed):
        """Guard: `access` leaves out those whose turn is to come, of which it would never hear again."""
        api_key, _ = create_key("w", "worker")
        query = parse_query(b"task=t&_max_outstanding=10", 100)
        worker = new_id()
        fleet.run(attachments=[Attachment(worker, query.options, query.offers, api_key)])
        submit(7)
        fleet.run()
        ApiKey.objects.filter(pk=api_key.pk).update(task_globs=["other"])
        list(passes(fleet, TICK))
        assert (closed, state_of(worker), holders()) == ([worker], SessionState.GONE, {})


class TestManyWorkers:
    def test_end_some_after_the_others(self, fleet):
        workers = fleet.attach(*["task=t"] * 5)
        submit(5)
        fleet.run()
        seen = [WorkerSession.objects.attached().count() for _ in passes(fleet, Inbox(closings=lost(*workers)))]
        assert seen == [3, 1, 0]
        assert holders() == {}

    def test_that_wait_for_their_end_are_given_nothing(self, fleet):
        *workers, heir = fleet.attach(*["task=t"] * 5, "task=t&_max_outstanding=100")
        for outbox in passes(fleet, Inbox(closings=lost(*workers))):
            submit(2)
            assert {each.task.session_id for each in outbox.assignments} <= {heir}
        fleet.run()
        assert set(holders()) == {heir}

    def test_whose_ends_cannot_be_written_are_left_while_what_they_said_before_is_answered(self, fleet):
        (worker,) = fleet.attach("task=t")
        (task_id,) = submit()
        fleet.run()
        submit()
        said = fleet.heard(reports=[Report(worker, task_id, done=True)], closings=lost(worker))
        with patch.object(sessions, "close_some", side_effect=OperationalError("the connection is gone")):
            outbox = fleet.process.run(said)
        assert [verdict for _, verdict in outbox.verdicts] == ["accepted"]
        assert outbox.assignments == []  # it is not waited for the database twice in one pass
        assert (outbox.left.reports, outbox.left.closings, outbox.away) == ([], lost(worker), True)
        fleet.process.run(outbox.left)
        assert state_of(worker) == SessionState.GONE


class TestWhatIsSaid:
    @pytest.fixture(autouse=True)
    def _little_work_a_pass(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(inbox, "WORK_A_PASS", 6)

    def test_before_the_end_of_a_session_counts_however_much_it_is(self, fleet):
        """Guard: `Inbox.portion` leaves the ends of sessions where results are left."""
        (worker,) = fleet.attach("task=t&_max_outstanding=20")
        tasks = submit(15)
        fleet.run()
        said = Inbox(reports=[Report(worker, task_id, done=True) for task_id in tasks], closings=lost(worker))
        outboxes = list(passes(fleet, said))
        assert [len(outbox.verdicts) for outbox in outboxes] == [6, 6, 3]
        verdicts = [verdict for outbox in outboxes for verdict in outbox.verdicts]
        assert [(report.task_id, verdict) for report, verdict in verdicts] == [(i, "accepted") for i in tasks]
        assert state_of(worker) == SessionState.GONE

    @pytest.mark.parametrize("leaving", ["closings", "drains"])
    def test_before_it_leaves_has_it_given_nothing_more_meanwhile(self, fleet, leaving):
        """Guard: `_hold_back`. The room that its results make is nobody's: what it were given would be lost."""
        (worker,) = fleet.attach("task=t&_max_outstanding=20")
        tasks = submit(15)
        fleet.run()
        submit(20, name="t")
        said = fleet.heard(reports=[Report(worker, task_id, done=True) for task_id in tasks])
        setattr(said, leaving, lost(worker) if leaving == "closings" else [worker])
        assert [outbox.assignments for outbox in passes(fleet, said)] == [[], [], []]

    def test_by_a_worker_that_has_yet_to_be_attached_waits_for_that(self, fleet):
        queries = [parse_query(b"task=t", 100) for _ in range(3)]
        attachments = [Attachment(new_id(), query.options, query.offers) for query in queries]
        last = attachments[-1].session_id
        list(passes(fleet, Inbox(attachments=attachments, capacities=[(last, 7)])))
        assert WorkerSession.objects.get(pk=last).max_outstanding == 7

    def test_of_a_task_that_was_given_back_is_not_taken_for_one_that_was_not_sent(self, fleet):
        """Guard: the comparison at the tick knows also of what is left. The worker has let go of the task."""
        (worker,) = fleet.attach("task=t&_max_outstanding=20")
        tasks = submit(9)
        fleet.run()
        said = Inbox(
            reports=[Report(worker, task_id, done=True) for task_id in tasks[:8]],
            releases=[(worker, tasks[8])],
            tick=True,
        )
        outbox = fleet.process.run(said, {worker: dict.fromkeys(tasks[:8], 1)})
        assert outbox.left.releases == [(worker, tasks[8])]
        assert (outbox.assignments, outbox.unheard.revoked) == ([], ())


class TestADeadProcess:
    @pytest.fixture
    def dead(self) -> Iterator[Fleet]:
        dead = Fleet()
        dead.attach("task=t&_max_outstanding=10", *["task=other"] * 4)
        submit(7)
        dead.run()
        past = database.now() - timedelta(seconds=1)
        Node.objects.filter(pk=dead.node_id).update(lease_until=past)
        yield dead
        dead.unlisten()

    def test_has_its_sessions_ended_in_passes_that_follow_at_once(self, dead):
        reaper = Fleet()
        attached = [WorkerSession.objects.attached().count() for _ in passes(reaper, TICK)]
        assert attached[0] > 0
        assert (attached[-1], holders()) == (0, {})
        reaper.unlisten()

    def test_has_its_sessions_given_nothing_meanwhile(self, dead):
        (heir,) = (reaper := Fleet()).attach("task=t&_max_outstanding=100")
        list(passes(reaper, TICK))
        assert holders() == {heir: 7}
        reaper.unlisten()

    def test_is_dealt_with_to_the_end_though_its_reaper_dies_half_way(self, dead):
        """Guard: the tick asks for sessions whose process has ended, whoever has ended it."""
        reaper = Fleet()
        assert reaper.run(tick=True).more
        reaper.unlisten()
        other = Fleet()
        list(passes(other, TICK))
        assert (WorkerSession.objects.attached().count(), holders()) == (0, {})
        other.unlisten()

    def test_is_not_dealt_with_by_one_that_is_about_to_end(self, dead):
        """It may have to be gone soon, and its own workers wait to be let go."""
        reaper = Fleet()
        assert reaper.run(tick=True).more
        sessions.stop_node(reaper.node_id, database.now())
        assert WorkerSession.objects.filter(node=dead.node_id).attached().exists()
        reaper.unlisten()

    def test_whose_sessions_cannot_be_ended_does_not_stop_the_clock(self, dead):
        reaper = Fleet()
        (task_id,) = submit(name="nobodys")
        Task.objects.filter(pk=task_id).update(expires_at=database.now() - timedelta(seconds=1))
        with patch.object(sessions, "end_orphans", side_effect=ValueError("nobody foresaw this")):
            reaper.run(tick=True)
        assert Task.objects.get(pk=task_id).state == "expired"
        reaper.unlisten()

    def test_of_whose_end_a_part_is_undone_rings_for_nothing(self, dead):
        """Its tasks are its workers' own still, and `maintenance` goes on."""

        def refuse(execute, sql, params, many, context):
            if "UPDATE" in sql and '"leaving"' in sql:  # when the first tasks were taken back
                raise ValueError("nobody foresaw this")
            return execute(sql, params, many, context)

        Node.objects.filter(pk=dead.node_id).update(stopped_at=database.now())
        with doorbell.held() as rings, connection.execute_wrapper(refuse):
            maintenance.tick(database.now(), access.Watch(new_id()), activity.Books())
        assert rings == []
        assert holders().total() == 7

    def test_that_is_not_dead_cannot_go_on(self, dead):
        reaper = Fleet()
        assert reaper.run(tick=True).more
        assert dead.run(tick=True).lease_lost
        reaper.unlisten()


def test_an_orderly_end_of_a_process_leaves_nothing_behind(fleet):
    fleet.attach("task=t&_max_outstanding=10", *["task=other"] * 4)
    (*_, task_id) = submit(7)
    fleet.run()
    sessions.stop_node(fleet.node_id, database.now())
    assert (WorkerSession.objects.attached().count(), holder_of(task_id)) == (0, None)


def test_one_that_cannot_be_ended_holds_up_no_other(fleet):
    good, bad = fleet.attach("task=t", "task=t")
    rescue = lifecycle.rescue

    def failing(outcomes, now, task_ids=None):
        if bad in outcomes:
            raise ValueError("nobody foresaw this")
        return rescue(outcomes, now, task_ids)

    with patch.object(lifecycle, "rescue", failing):
        list(passes(fleet, Inbox(closings=lost(good, bad))))
    assert (state_of(good), state_of(bad)) == (SessionState.GONE, SessionState.ONLINE)
