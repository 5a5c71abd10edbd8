"""Results against what takes their tasks away: a task has one end, whoever commits first."""

from __future__ import annotations

import pytest
from django.db import transaction

from queueapp import lifecycle, sessions
from queueapp.domain.states import Outcome
from queueapp.doorbell import merged
from queueapp.sessions import Closing
from tests.concurrency.interleaving import BEFORE_COMMIT, after, interleave
from tests.integration import rows
from tests.integration.rows import NOW, attempts, done, error, row

pytestmark = pytest.mark.django_db(transaction=True)

LATE = rows.after(301)
"""When the default timeout is over."""


@pytest.fixture
def worker():
    return rows.session()


@pytest.fixture
def task_id(worker):
    return rows.assigned(worker)[0]


def time_out_and_assign(task_id, worker):
    with transaction.atomic():
        lifecycle.time_out(LATE)
        assert rows.assign([task_id], worker, LATE) == [task_id]


class TestResultAgainstTimeout:
    def test_a_result_that_comes_first_is_kept_and_nobody_is_told_of_a_timeout(self, worker, task_id, heard):
        """Guard: `_locked` locks (FOR UPDATE), so that the conditions of `overdue` are looked at again."""
        verdicts, timed_out = interleave(
            lambda: lifecycle.finish([done(worker, task_id)], NOW),
            BEFORE_COMMIT,
            lambda: lifecycle.time_out(LATE),
        )
        assert (verdicts, timed_out) == (["accepted"], 0)
        assert row(task_id).state == "succeeded"
        assert attempts(task_id) == []
        assert merged(heard).revoked == ()

    def test_a_result_that_comes_second_is_stale(self, worker, task_id):
        """Guard: state and worker in the WHERE of `_succeed`."""
        timed_out, verdicts = interleave(
            lambda: lifecycle.time_out(LATE),
            BEFORE_COMMIT,
            lambda: lifecycle.finish([done(worker, task_id)], LATE),
        )
        assert (timed_out, verdicts) == (1, ["stale"])
        assert row(task_id).state == "pending"
        assert attempts(task_id) == [(1, "timeout")]

    @pytest.mark.parametrize("report", [done, error])
    def test_it_is_stale_too_when_another_worker_has_the_task_by_then(self, worker, task_id, report):
        """Guards: the worker in the WHERE of `_succeed`; its comparison, after the lock, in `_fail`."""
        other = rows.session()
        _, verdicts = interleave(
            lambda: time_out_and_assign(task_id, other),
            BEFORE_COMMIT,
            lambda: lifecycle.finish([report(worker, task_id)], LATE),
        )
        assert verdicts == ["stale"]
        assert (row(task_id).state, row(task_id).worker_id) == ("assigned", other.id)
        assert attempts(task_id) == [(1, "timeout")]

    @pytest.mark.parametrize("report", [done, error])
    def test_it_is_stale_too_when_the_worker_has_the_task_again(self, worker, task_id, report):
        """Guards: the attempt in the WHERE of `_succeed`; its comparison, after the lock, in `_fail`."""
        _, verdicts = interleave(
            lambda: time_out_and_assign(task_id, worker),
            BEFORE_COMMIT,
            lambda: lifecycle.finish([report(worker, task_id, attempt=1)], LATE),
        )
        assert verdicts == ["stale"]
        assert (row(task_id).state, row(task_id).attempt) == ("assigned", 2)


class TestResultAgainstTheEndOfItsSession:
    def close(self, worker):
        return sessions.close([Closing(worker.id, Outcome.LOST, 1006)], NOW)

    def test_a_result_that_comes_first_is_kept(self, worker, task_id):
        """Guard: `_lock_sessions`. Without it the result has the task's lock and wants the session's, the end of
        the session the other way round: a deadlock."""
        verdicts, closed = interleave(
            lambda: lifecycle.finish([done(worker, task_id)], NOW),
            after("UPDATE queueapp_task"),
            lambda: self.close(worker),
        )
        assert (verdicts, closed) == (["accepted"], {worker.id})
        assert row(task_id).state == "succeeded"
        assert attempts(task_id) == []

    def test_a_result_that_comes_second_is_stale(self, worker, task_id):
        """Guard: state and worker in the WHERE of `_succeed`."""
        closed, verdicts = interleave(
            lambda: self.close(worker),
            BEFORE_COMMIT,
            lambda: lifecycle.finish([done(worker, task_id)], NOW),
        )
        assert (closed, verdicts) == ({worker.id}, ["stale"])
        assert row(task_id).state == "pending"
        assert attempts(task_id) == [(1, "lost")]

    def test_a_session_that_is_ended_twice_ends_once(self, worker, task_id):
        """Guard: `sessions._lock` (FOR UPDATE), after which `attached` is looked at again."""
        first, second = interleave(
            lambda: sessions.disconnect([worker.id], NOW), BEFORE_COMMIT, lambda: self.close(worker)
        )
        assert (first, second) == ({worker.id}, set())
        worker.refresh_from_db()
        assert worker.close_code == 4409
        assert attempts(task_id) == [(1, "released")]


class TestSignOfLifeAgainstTimeout:
    def prolong(self, worker, task_id):
        sign = lifecycle.SignOfLife(worker.id, task_id, progress=0.5)
        lifecycle.prolong([sign], LATE)

    def test_a_sign_that_comes_first_keeps_the_task(self, worker, task_id):
        """Guard: `_locked` locks (FOR UPDATE), so that the deadline is looked at again."""
        _, timed_out = interleave(
            lambda: self.prolong(worker, task_id), BEFORE_COMMIT, lambda: lifecycle.time_out(LATE)
        )
        assert timed_out == 0
        assert (row(task_id).state, row(task_id).deadline) == ("assigned", rows.after(601))

    def test_a_sign_that_comes_second_changes_nothing(self, worker, task_id):
        """Guards, each enough: `prolong` locks before it looks at the holder; state and attempt in its UPDATE."""
        other = rows.session()
        interleave(
            lambda: time_out_and_assign(task_id, other),
            BEFORE_COMMIT,
            lambda: self.prolong(worker, task_id),
        )
        assert (row(task_id).worker_id, row(task_id).progress) == (other.id, None)


class TestASignOfLifeThatIsWrittenMeanwhile:
    """The row has changed, and is the same holder's still: whoever waited for its lock must not take it for
    another's. PostgreSQL locks the new version, which a statement that began earlier cannot see."""

    def prolong(self, worker, task_id, seconds=None):
        lifecycle.prolong([lifecycle.SignOfLife(worker.id, task_id, seconds)], NOW)

    def test_the_result_that_waited_for_it_is_accepted(self, worker, task_id):
        """Guard: `_succeeded` looks twice."""
        _, verdicts = interleave(
            lambda: self.prolong(worker, task_id),
            BEFORE_COMMIT,
            lambda: lifecycle.finish([done(worker, task_id)], NOW),
        )
        assert verdicts == ["accepted"]
        assert row(task_id).state == "succeeded"

    def test_of_a_batch_that_waited_for_one_task_all_are_accepted(self, worker):
        """Guard: the same."""
        task_ids = rows.assigned(worker, 3)
        _, verdicts = interleave(
            lambda: self.prolong(worker, task_ids[1]),
            BEFORE_COMMIT,
            lambda: lifecycle.finish([done(worker, task_id) for task_id in task_ids], NOW),
        )
        assert verdicts == ["accepted"] * 3
        assert [row(task_id).state for task_id in task_ids] == ["succeeded"] * 3

    def test_the_error_that_waited_for_it_is_accepted(self, worker, task_id):
        """Guard: `_fail` locks by `_locked`, a statement before the one that writes."""
        _, verdicts = interleave(
            lambda: self.prolong(worker, task_id),
            BEFORE_COMMIT,
            lambda: lifecycle.finish([error(worker, task_id)], NOW),
        )
        assert verdicts == ["accepted"]
        assert attempts(task_id) == [(1, "error")]

    def test_the_end_of_its_session_takes_the_task_back(self, worker, task_id):
        """Guard: as before, in `rescue`; the task would be held by nobody otherwise."""
        interleave(
            lambda: self.prolong(worker, task_id),
            BEFORE_COMMIT,
            lambda: sessions.close([Closing(worker.id, Outcome.LOST, 1006)], NOW),
        )
        assert row(task_id).state == "pending"
        assert attempts(task_id) == [(1, "lost")]

    def test_a_later_one_stands(self, worker, task_id):
        """Guard: `prolong` locks (FOR UPDATE), a statement before the one that writes."""
        interleave(
            lambda: self.prolong(worker, task_id),
            BEFORE_COMMIT,
            lambda: self.prolong(worker, task_id, seconds=1000),
        )
        assert row(task_id).deadline == rows.after(1000)
