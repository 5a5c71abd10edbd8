"""Attempts that end without a result: given back, lost, timed out, prolonged before that."""

from __future__ import annotations

import pytest
from rows import NOW, after, assign, assigned, attempts, content, done, error, pending, row, session

from queueapp import lifecycle
from queueapp.domain.states import Outcome
from queueapp.lifecycle import SignOfLife
from queueapp.lifecycle.ending import Ending, end_attempts
from queueapp.models import Attempt

pytestmark = pytest.mark.django_db


class TestRelease:
    def test_makes_the_task_ready_at_once_at_no_cost(self):
        worker = session()
        (task_id,) = assigned(worker, max_attempts=1)
        assert lifecycle.release([(worker.id, task_id)], after(5)) == 1
        task = row(task_id)
        assert (task.state, task.delayed_until, task.worker_id, task.deadline) == ("pending", None, None, None)
        assert (task.attempt, task.attempts_used, task.avoid) == (1, 0, [])
        assert attempts(task_id) == [(1, "released")]

    def test_keeps_the_tasks_place_and_restarts_its_waiting(self):
        worker = session()
        (task_id,) = assigned(worker)
        lifecycle.release([(worker.id, task_id)], after(5))
        assert (row(task_id).available_at, row(task_id).waiting_since) == (NOW, after(5))

    def test_gives_back_nothing_that_the_worker_does_not_hold(self):
        holder, other = session(), session()
        (held,) = assigned(holder)
        (waiting,) = pending()
        before = content([held, waiting])
        assert lifecycle.release([(other.id, held), (other.id, waiting)], NOW) == 0
        assert content([held, waiting]) == before

    def test_gives_back_only_the_tasks_named(self):
        worker = session()
        given_back, kept = assigned(worker, 2)
        assert lifecycle.release([(worker.id, given_back)], NOW) == 1
        assert (row(given_back).state, row(kept).state) == ("pending", "assigned")


class TestRescue:
    def test_takes_back_all_that_the_sessions_hold_and_nothing_else(self):
        dead, gone, alive = session(), session(), session()
        held = assigned(dead, 2) + assigned(gone, 1)
        safe = assigned(alive, 2)
        before = content(safe)
        assert lifecycle.rescue({dead.id: Outcome.LOST, gone.id: Outcome.LOST}, after(1)) == 3
        assert {row(task_id).state for task_id in held} == {"pending"}
        assert content(safe) == before

    def test_of_lost_tasks_uses_up_an_attempt_and_remembers_whom_to_avoid(self):
        first, second = session(), session()
        (task_id,) = assigned(first)
        lifecycle.rescue({first.id: Outcome.LOST}, after(1))
        assign([task_id], second, after(2))
        lifecycle.rescue({second.id: Outcome.LOST}, after(3))
        task = row(task_id)
        assert (task.state, task.delayed_until, task.attempts_used) == ("pending", None, 2)
        assert task.avoid == [str(first.id), str(second.id)]
        assert task.error == "The worker's connection was lost."
        assert attempts(task_id) == [(1, "lost"), (2, "lost")]

    def test_of_released_tasks_costs_nothing_and_avoids_nobody(self):
        worker = session()
        (task_id,) = assigned(worker, max_attempts=1)
        lifecycle.rescue({worker.id: Outcome.RELEASED}, NOW)
        task = row(task_id)
        assert (task.state, task.attempts_used, task.avoid, task.error) == ("pending", 0, [], "")
        assert attempts(task_id) == [(1, "released")]

    def test_stops_a_task_whose_workers_keep_dying(self):
        (task_id,) = pending(max_attempts=3)
        for _ in range(3):
            worker = session()
            assign([task_id], worker)
            lifecycle.rescue({worker.id: Outcome.LOST}, after(1))
        task = row(task_id)
        assert (task.state, task.reason, task.attempts_used, task.finished_at) == ("failed", "lost", 3, after(1))
        assert attempts(task_id) == [(1, "lost"), (2, "lost"), (3, "lost")]

    def test_fails_a_lost_task_at_once_where_retry_on_does_not_name_it(self):
        worker = session()
        (task_id,) = assigned(worker, retry_on=[])
        lifecycle.rescue({worker.id: Outcome.LOST}, NOW)
        assert (row(task_id).state, row(task_id).reason) == ("failed", "lost")

    def test_leaves_what_was_finished_before(self):
        worker = session()
        (task_id,) = assigned(worker)
        lifecycle.finish([done(worker, task_id, payload="1")], NOW)
        before = content([task_id])
        assert lifecycle.rescue({worker.id: Outcome.LOST}, after(1)) == 0
        assert content([task_id]) == before

    def test_of_nobody_takes_nothing(self):
        assert lifecycle.rescue({}, NOW) == 0


class TestADecisionThatComesTooLate:
    """Made on what the task was when it was read, which it no longer is."""

    def test_changes_nothing_when_the_task_is_in_its_next_attempt(self):
        first, second = session(), session()
        (task_id,) = assigned(first)
        read = row(task_id)
        lifecycle.release([(first.id, task_id)], NOW)
        assign([task_id], second)
        before = content([task_id])
        assert end_attempts([Ending(read, Outcome.LOST)], after(1)) == set()
        assert content([task_id]) == before
        assert attempts(task_id) == [(1, "released")]

    def test_changes_nothing_when_the_task_is_terminal(self):
        worker = session()
        (task_id,) = assigned(worker)
        read = row(task_id)
        lifecycle.finish([done(worker, task_id)], NOW)
        before = content([task_id])
        assert end_attempts([Ending(read, Outcome.TIMEOUT)], after(1)) == set()
        assert content([task_id]) == before
        assert attempts(task_id) == []


class TestTimeOut:
    def test_ends_the_attempts_whose_deadline_has_passed(self):
        worker = session()
        (early,) = assigned(worker, timeout=30)
        (late,) = assigned(worker, timeout=31)
        assert lifecycle.time_out(after(29.9)) == 0
        assert lifecycle.time_out(after(30)) == 1
        task = row(early)
        assert (task.state, task.delayed_until, task.attempts_used) == ("pending", None, 1)
        assert task.avoid == [str(worker.id)]
        assert attempts(early) == [(1, "timeout")]
        assert Attempt.objects.get().error == "No result and no sign of progress for 30 s."
        assert row(late).state == "assigned"

    def test_fails_the_task_with_that_reason_when_attempts_are_used_up(self):
        worker = session()
        (task_id,) = assigned(worker, timeout=30, max_attempts=1)
        lifecycle.time_out(after(30))
        assert (row(task_id).state, row(task_id).reason) == ("failed", "timeout")

    def test_makes_the_late_result_stale(self):
        worker = session()
        (task_id,) = assigned(worker, timeout=30)
        lifecycle.time_out(after(30))
        assert lifecycle.finish([done(worker, task_id)], after(31)) == ["stale"]
        assert row(task_id).state == "pending"

    def test_takes_a_bounded_number_at_a_time(self, monkeypatch):
        monkeypatch.setattr("queueapp.lifecycle.ending.PER_TRANSACTION", 2)
        assigned(session(), 5, timeout=30)
        assert [lifecycle.time_out(after(30)) for _ in range(4)] == [2, 2, 1, 0]


class TestProlong:
    def test_by_progress_restarts_the_timeout_and_shows_it(self):
        worker = session()
        (task_id,) = assigned(worker, timeout=30)
        lifecycle.prolong([SignOfLife(worker.id, task_id, progress=0.25, message="a quarter")], after(10))
        task = row(task_id)
        assert (task.deadline, task.progress, task.progress_message) == (after(40), 0.25, "a quarter")

    def test_by_an_extension_sets_the_timeout_for_once(self):
        worker = session()
        (task_id,) = assigned(worker, timeout=30)
        lifecycle.prolong([SignOfLife(worker.id, task_id, seconds=600)], after(10))
        assert row(task_id).deadline == after(610)
        lifecycle.prolong([SignOfLife(worker.id, task_id, progress=0.5)], after(20))
        assert row(task_id).deadline == after(50)

    def test_by_an_extension_keeps_the_progress_shown(self):
        worker = session()
        (task_id,) = assigned(worker)
        lifecycle.prolong([SignOfLife(worker.id, task_id, progress=0.5, message="half")], after(1))
        lifecycle.prolong([SignOfLife(worker.id, task_id, seconds=60)], after(2))
        assert (row(task_id).progress, row(task_id).progress_message) == (0.5, "half")

    def test_shows_the_progress_though_an_extension_follows_in_the_same_batch(self):
        worker = session()
        (task_id,) = assigned(worker)
        signs = [
            SignOfLife(worker.id, task_id, progress=0.5, message="half"),
            SignOfLife(worker.id, task_id, seconds=600),
        ]
        lifecycle.prolong(signs, after(1))
        task = row(task_id)
        assert (task.progress, task.progress_message, task.deadline) == (0.5, "half", after(601))

    def test_takes_the_last_of_several_signs(self):
        worker = session()
        (task_id,) = assigned(worker)
        signs = [SignOfLife(worker.id, task_id, progress=progress) for progress in (0.1, 0.9)]
        lifecycle.prolong(signs, after(1))
        assert row(task_id).progress == 0.9

    def test_changes_nothing_for_one_that_does_not_hold_the_task(self):
        holder, other = session(), session()
        (held,) = assigned(holder)
        (waiting,) = pending()
        (finished,) = assigned(other)
        lifecycle.finish([error(other, finished)], NOW)
        before = content([held, waiting, finished])
        signs = [SignOfLife(other.id, task_id, seconds=9, progress=0.5) for task_id in (held, waiting, finished)]
        lifecycle.prolong(signs, after(1))
        assert content([held, waiting, finished]) == before
