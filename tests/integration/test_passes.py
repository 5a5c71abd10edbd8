"""A pass as a whole: the order of its parts, and what one bad item does to the others."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import pytest
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from fleet import holder_of, holders, submit

from queueapp import database, doorbell, maintenance
from queueapp.domain.states import Outcome
from queueapp.inbox import Inbox
from queueapp.lifecycle import Report, SignOfLife, ending
from queueapp.models import Task, WorkerSession, new_id
from queueapp.registration import Options, parse_query
from queueapp.sessions import Attachment, Closing
from tests.asking import asking

pytestmark = pytest.mark.django_db(transaction=True)


def attachment(query: str = "task=t") -> Attachment:
    parsed = parse_query(query.encode(), 100)
    return Attachment(new_id(), parsed.options, parsed.offers)


class TestOrder:
    def test_a_worker_that_attaches_gets_tasks_in_the_same_pass(self, fleet):
        submit(3)
        new = attachment()
        outbox = fleet.run(attachments=[new])
        assert outbox.attached == [new]
        assert [a.task.session_id for a in outbox.assignments] == [new.session_id] * 3

    def test_a_result_that_arrived_before_the_connection_ended_counts(self, fleet):
        (worker,) = fleet.attach("task=t")
        task = submit()[0]
        fleet.run()
        outbox = fleet.run(
            reports=[Report(worker, task, done=True)], closings=[Closing(worker, Outcome.LOST, 1006)]
        )
        assert [verdict for _, verdict in outbox.verdicts] == ["accepted"]
        assert Task.objects.get(pk=task).state == "succeeded"

    def test_a_session_that_attaches_and_ends_between_two_passes_gets_nothing(self, fleet):
        submit()
        new = attachment()
        outbox = fleet.run(attachments=[new], closings=[Closing(new.session_id, Outcome.LOST, 1006)])
        assert outbox.assignments == []
        assert holders() == {}

    def test_room_made_by_a_result_is_used_in_the_same_pass(self, fleet):
        (worker,) = fleet.attach("task=t&_max_outstanding=1")
        first, second = submit(2)
        fleet.run()
        outbox = fleet.run(reports=[Report(worker, first, done=True)])
        assert [a.task.task_id for a in outbox.assignments] == [second]

    def test_a_task_given_back_is_assigned_in_the_same_pass(self, fleet):
        (worker,) = fleet.attach("task=t")
        task = submit()[0]
        fleet.run()
        outbox = fleet.run(releases=[(worker, task)])
        assert [(a.task.task_id, a.task.attempt) for a in outbox.assignments] == [(task, 2)]

    def test_a_sign_of_life_moves_the_deadline(self, fleet):
        (worker,) = fleet.attach("task=t")
        task = submit(timeout=10)[0]
        fleet.run()
        before = Task.objects.get(pk=task).deadline
        fleet.run(signs=[SignOfLife(worker, task, seconds=1000, progress=0.25, message="a quarter")])
        row = Task.objects.get(pk=task)
        assert row.deadline > before + timedelta(seconds=900)
        assert (row.progress, row.progress_message) == (0.25, "a quarter")


class TestFailure:
    def test_an_item_that_cannot_be_written_is_dropped_and_the_others_are_not(self, fleet, caplog):
        (worker,) = fleet.attach("task=t")
        task, waiting = submit()[0], submit(name="u")[0]
        fleet.run()
        good = attachment("task=u")
        bad = replace(attachment("task=u"), options=Options(max_outstanding=-1))
        outbox = fleet.run(attachments=[bad, good], reports=[Report(worker, task, done=True)])
        assert [verdict for _, verdict in outbox.verdicts] == ["accepted"]
        assert Task.objects.get(pk=task).state == "succeeded"
        assert holder_of(waiting) == good.session_id
        assert "Dropped an item" in caplog.text

    def test_a_result_whose_commit_was_made_and_not_answered_is_accepted_when_it_comes_again(self, fleet):
        (worker,) = fleet.attach("task=t")
        task = submit()[0]
        fleet.run()
        inbox = Inbox(reports=[Report(worker, task, done=True, payload="1", attempt=1)])
        assert [verdict for _, verdict in fleet.process.run(inbox).verdicts] == ["accepted"]
        assert [verdict for _, verdict in fleet.process.run(inbox).verdicts] == ["accepted"]
        other = Inbox(reports=[Report(new_id(), task, done=True, payload="2", attempt=1)])
        assert [verdict for _, verdict in fleet.process.run(other).verdicts] == ["stale"]
        assert Task.objects.get(pk=task).result == "1"

    def test_with_the_database_away_nothing_is_done_and_the_same_inbox_works_later(self, fleet):
        (worker,) = fleet.attach("task=t")
        task = submit()[0]
        fleet.run()
        inbox = Inbox(reports=[Report(worker, task, done=True)])

        def refuse(execute, sql, params, many, context):
            if sql.lstrip().startswith(("WITH", "UPDATE")):
                raise OperationalError("the database system is shutting down")
            return execute(sql, params, many, context)

        with connection.execute_wrapper(refuse), pytest.raises(OperationalError):
            fleet.process.run(inbox)
        assert Task.objects.get(pk=task).state == "assigned"
        outbox = fleet.process.run(inbox)
        assert [verdict for _, verdict in outbox.verdicts] == ["accepted"]

    @pytest.mark.parametrize("error", [OperationalError("gone"), RuntimeError("a bug")])
    def test_what_was_taken_in_is_answered_though_the_dispatch_fails(self, fleet, error):
        (worker,) = fleet.attach("task=t&_max_outstanding=1")
        first, second = submit(2)
        fleet.run()

        def refuse(execute, sql, params, many, context):
            if "max_outstanding" in sql:  # the dispatcher looks at the workers
                raise error
            return execute(sql, params, many, context)

        with connection.execute_wrapper(refuse):
            outbox = fleet.run(reports=[Report(worker, first, done=True)])
        assert [verdict for _, verdict in outbox.verdicts] == ["accepted"]
        assert outbox.assignments == []
        assert fleet.run().assignments[0].task.task_id == second

    def test_what_workers_said_is_taken_in_though_the_tick_fails(self, fleet, monkeypatch, caplog):
        """Else it would be lost, with whatever each tick stumbles over."""
        (worker,) = fleet.attach("task=t")
        (task_id,) = submit()
        fleet.run()

        def stumble(*_):
            raise ValueError("nobody foresaw this")

        monkeypatch.setattr(maintenance, "tick", stumble)
        outbox = fleet.run(tick=True, reports=[Report(worker, task_id, done=True)])
        assert [verdict for _, verdict in outbox.verdicts] == ["accepted"]
        assert "A tick failed" in caplog.text

    @pytest.mark.parametrize("error", [OperationalError("gone"), ValueError("nobody foresaw this")])
    def test_of_a_tick_that_fails_what_was_committed_is_heard_and_what_was_undone_is_not(
        self, fleet, monkeypatch, error
    ):
        """Guards: `Pass._hearing` hears at the end whatever comes, or a worker works on at a task that was taken
        from it; `doorbell.ring` waits for the commit, or one drops a task that is its own."""
        monkeypatch.setattr(ending, "PER_TRANSACTION", 1)
        (worker,) = fleet.attach("task=t")
        overdue, undone = sorted(submit(2))
        fleet.run()
        Task.objects.update(deadline=database.now())
        endings = []

        def refuse(execute, sql, params, many, context):
            if "state = ending.new_state" in sql:
                endings.append(sql)
                if len(endings) == 2:
                    raise error
            return execute(sql, params, many, context)

        heard: list[doorbell.Ring] = []
        unlisten = doorbell.listen(heard.append)
        with connection.execute_wrapper(refuse), suppress(OperationalError):
            fleet.run(tick=True)
        unlisten()
        assert doorbell.merged(heard).revoked == (doorbell.Revoked(worker, overdue, 1, "timeout"),)
        assert (Task.objects.get(pk=overdue).attempts_used, Task.objects.get(pk=undone).attempts_used) == (1, 0)


class TestNews:
    def test_it_leaves_after_the_commit_and_without_what_the_pass_has_dealt_with(self, fleet):
        heard: list[doorbell.Ring] = []
        states: list[str] = []

        def listen(news: doorbell.Ring) -> None:
            heard.append(news)
            states.extend(Task.objects.filter(pk__in=news.ended).values_list("state", flat=True))
            assert not connection.in_atomic_block

        (worker,) = fleet.attach("task=t")
        task = submit()[0]
        fleet.run()
        unlisten = doorbell.listen(listen)
        fleet.run(reports=[Report(worker, task, done=True)])
        unlisten()
        assert [ring.ended for ring in heard] == [{task}]
        assert states == ["succeeded"]
        assert not any(ring.routes or ring.roster for ring in heard)


class TestClock:
    def test_an_expired_task_ends_and_is_not_assigned(self, fleet):
        task = submit(expires_in=60)[0]
        Task.objects.filter(pk=task).update(expires_at=database.now())
        fleet.run(tick=True)
        fleet.attach("task=t")
        assert Task.objects.get(pk=task).state == "expired"

    def test_a_task_that_is_given_back_past_its_time_expires_and_is_not_assigned(self, fleet):
        fleet.attach("task=t")
        task = submit(expires_in=60)[0]
        fleet.run()
        Task.objects.filter(pk=task).update(deadline=database.now(), expires_at=database.now())
        assert fleet.run(tick=True).assignments == []
        assert Task.objects.get(pk=task).state == "expired"

    def test_more_overdue_tasks_than_one_step_takes_are_all_ended(self, fleet):
        workers = fleet.attach("task=t&_max_outstanding=5000")
        submit(1500, max_attempts=1)
        while fleet.run(roster=True).assignments:
            pass
        assert holders()[workers[0]] == 1500
        Task.objects.update(deadline=database.now() - timedelta(seconds=1))
        fleet.run(tick=True)
        assert Task.objects.filter(state="failed", reason="timeout").count() == 1500
        assert WorkerSession.objects.with_outstanding().get().outstanding == 0


class TestAnIdleTick:
    def test_asks_six_things_and_opens_no_transaction(self, fleet, nothing_is_rolled_up):
        """Its lease, what is due, what is ready, what its workers hold, how they are, what comes next."""
        (worker,) = fleet.attach("task=t")
        fleet.run(tick=True)
        with asking() as asked, CaptureQueriesContext(connection) as sent:
            fleet.process.run(Inbox(tick=True), {worker: {}})
        statements = [each for each in asked if "clock_timestamp" not in each]
        assert len(statements) == 6, statements
        assert not [each for each in sent if (each["sql"] or "").startswith(("BEGIN", "SAVEPOINT"))]
