"""What producers, operators and the clock do: cancel, retry, expire, promote."""

from __future__ import annotations

from uuid import uuid4

import pytest
from rows import NOW, after, assign, assigned, attempts, content, done, error, pending, row, session

from queueapp import lifecycle
from queueapp.domain.states import Outcome
from queueapp.models import Attempt

pytestmark = pytest.mark.django_db


def succeeded(**members):
    worker = session()
    (task_id,) = assigned(worker, **members)
    assert lifecycle.finish([done(worker, task_id, payload="1")], after(1)) == ["accepted"]
    return task_id


def failed(**members):
    worker = session()
    (task_id,) = assigned(worker, **members)
    assert lifecycle.finish([error(worker, task_id)], after(1)) == ["accepted"]
    return task_id


def cancelled(**members):
    (task_id,) = pending(**members)
    assert lifecycle.cancel([task_id], after(1)) == {task_id}
    return task_id


def expired(**members):
    (task_id,) = pending(expires_in=1, **members)
    assert lifecycle.expire(after(1)) == 1
    return task_id


ENDS = [succeeded, failed, cancelled, expired]


class TestCancel:
    def test_ends_what_is_pending(self):
        ready, delayed = *pending(), *pending(delay=60)
        assert lifecycle.cancel([ready, delayed], after(1)) == {ready, delayed}
        for task_id in (ready, delayed):
            task = row(task_id)
            assert (task.state, task.finished_at, task.delayed_until) == ("cancelled", after(1), None)
            assert attempts(task_id) == []

    def test_ends_what_is_assigned_and_keeps_the_attempt_at_no_cost(self):
        worker = session()
        (task_id,) = assigned(worker)
        assert lifecycle.cancel([task_id], after(1)) == {task_id}
        task = row(task_id)
        assert (task.state, task.worker_id, task.deadline, task.attempts_used) == ("cancelled", None, None, 0)
        assert attempts(task_id) == [(1, "cancelled")]
        kept = Attempt.objects.get()
        assert (kept.worker_id, kept.assigned_at, kept.ended_at) == (worker.id, NOW, after(1))

    @pytest.mark.parametrize("ended", ENDS)
    def test_changes_nothing_that_is_terminal(self, ended):
        task_id = ended()
        before = content([task_id])
        assert lifecycle.cancel([task_id, uuid4()], after(9)) == set()
        assert content([task_id]) == before


class TestRetry:
    @pytest.mark.parametrize("ended", ENDS)
    def test_makes_a_terminal_task_pending_with_a_fresh_budget(self, ended):
        task_id = ended(max_attempts=1)
        assert lifecycle.retry([task_id], after(9)) == {task_id}
        task = row(task_id)
        assert (task.state, task.reason, task.error, task.result) == ("pending", "", "", None)
        assert (task.attempts_used, task.avoid, task.finished_at, task.delayed_until) == (0, None, None, None)
        assert (task.available_at, task.waiting_since) == (after(9), after(9))

    def test_gives_as_many_attempts_as_at_first(self):
        task_id = failed(max_attempts=2, retry_on=[])
        lifecycle.retry([task_id], after(9))
        for _ in range(2):
            assert row(task_id).state == "pending"
            worker = session()
            assign([task_id], worker)
            lifecycle.finish([error(worker, task_id, retry=True)], after(10))
            lifecycle.promote(after(9999))
        assert row(task_id).state == "failed"
        assert attempts(task_id) == [(1, "error"), (2, "error"), (3, "error")]

    def test_forgets_whom_to_avoid(self):
        worker = session()
        (task_id,) = assigned(worker, max_attempts=1)
        lifecycle.rescue({worker.id: Outcome.LOST}, NOW)
        lifecycle.retry([task_id], after(1))
        assert row(task_id).avoid is None

    def test_keeps_the_first_done_that_left_no_attempt_behind(self):
        task_id = succeeded()
        lifecycle.retry([task_id], after(9))
        assert attempts(task_id) == [(1, "done")]
        kept = Attempt.objects.get()
        assert (kept.assigned_at, kept.ended_at) == (NOW, after(1))
        worker = session()
        assign([task_id], worker)
        lifecycle.finish([done(worker, task_id)], after(10))
        assert attempts(task_id) == [(1, "done"), (2, "done")]

    def test_forgets_an_expiry_that_has_passed_and_keeps_one_to_come(self):
        past, future = expired(), cancelled(expires_in=3600)
        lifecycle.retry([past, future], after(9))
        assert (row(past).expires_at, row(future).expires_at) == (None, after(3600))
        assert lifecycle.expire(after(10)) == 0

    def test_leaves_live_tasks_alone(self):
        tasks = pending() + assigned(session())
        before = content(tasks)
        assert lifecycle.retry([*tasks, uuid4()], after(9)) == set()
        assert content(tasks) == before

    def test_leaves_a_task_whose_unique_key_a_live_one_has_taken(self):
        old = succeeded(unique_key="k")
        (new,) = pending(unique_key="k")
        other = failed()
        before = content([old, new])
        assert lifecycle.retry([old, other], after(9)) == {other}
        assert content([old, new]) == before
        assert attempts(old) == []

    def test_of_two_with_one_unique_key_brings_back_one(self):
        tasks = [succeeded(unique_key="k"), succeeded(unique_key="k")]
        assert lifecycle.retry(tasks, after(9)) == {min(tasks)}


class TestExpire:
    def test_ends_pending_tasks_from_expires_at_on(self):
        ready, delayed = *pending(expires_in=10), *pending(expires_in=10, delay=60)
        later = pending(expires_in=10.1) + pending()
        assert lifecycle.expire(after(9.9)) == 0
        assert lifecycle.expire(after(10)) == 2
        for task_id in (ready, delayed):
            task = row(task_id)
            assert (task.state, task.finished_at, task.delayed_until) == ("expired", after(10), None)
        assert {row(task_id).state for task_id in later} == {"pending"}

    def test_leaves_what_is_assigned_or_terminal(self):
        worker = session()
        tasks = [*assigned(worker, expires_in=1), cancelled(expires_in=1)]
        before = content(tasks)
        assert lifecycle.expire(after(60)) == 0
        assert content(tasks) == before


class TestPromote:
    def test_makes_delayed_tasks_ready_from_their_time_on(self):
        (task_id,) = pending(delay=10)
        (later,) = pending(delay=11)
        assert lifecycle.promote(after(9.9)) == 0
        assert lifecycle.promote(after(10)) == 1
        assert (row(task_id).delayed_until, row(task_id).available_at) == (None, after(10))
        assert row(later).delayed_until == after(11)
        assert assign([task_id, later], session()) == [task_id]

    def test_makes_a_task_ready_once(self):
        pending(delay=10)
        assert [lifecycle.promote(after(10)) for _ in range(2)] == [1, 0]
