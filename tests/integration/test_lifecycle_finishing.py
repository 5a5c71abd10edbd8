"""Workers' results: only the holder of the current attempt is accepted."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest
from rows import NOW, after, after_the_tick, assign, assigned, attempts, content, done, error, row, session

from queueapp import lifecycle
from queueapp.domain.states import Outcome
from queueapp.models import Attempt

pytestmark = pytest.mark.django_db


def finish(*reports, now=NOW):
    return lifecycle.finish(reports, now)


def stale_results(worker) -> int:
    return after_the_tick(worker).stale_results


class TestADoneResult:
    def test_makes_the_task_succeeded_with_its_result(self):
        worker = session()
        (task_id,) = assigned(worker)
        assert finish(done(worker, task_id, payload='{"a": 1.50}'), now=after(7)) == ["accepted"]
        task = row(task_id)
        assert (task.state, task.result, task.reason, task.error) == ("succeeded", '{"a": 1.50}', "", "")
        assert (task.finished_at, task.worker_id, task.deadline) == (after(7), None, None)
        assert (task.last_worker_id, task.attempt, task.attempts_used) == (worker.id, 1, 1)

    def test_leaves_no_attempt_behind_when_it_is_a_plain_first_one(self):
        worker = session()
        (task_id,) = assigned(worker)
        finish(done(worker, task_id))
        assert attempts(task_id) == []

    def test_is_kept_as_an_attempt_when_others_came_before(self):
        first, second = session(), session()
        (task_id,) = assigned(first)
        lifecycle.rescue({first.id: Outcome.LOST}, after(1))
        assign([task_id], second, after(2))
        assert finish(done(second, task_id, attempt=2), now=after(3)) == ["accepted"]
        assert attempts(task_id) == [(1, "lost"), (2, "done")]
        last = Attempt.objects.get(number=2)
        assert (last.worker_id, last.assigned_at, last.ended_at) == (second.id, after(2), after(3))
        assert row(task_id).error == ""

    def test_makes_its_worker_idle_since_now(self):
        worker = session()
        (task_id,) = assigned(worker)
        finish(done(worker, task_id), now=after(9))
        assert after_the_tick(worker).idle_since == after(9)


class TestAStaleResult:
    @pytest.mark.parametrize("report", [done, error])
    def test_is_one_from_a_worker_that_does_not_hold_the_task(self, report):
        holder, other = session(), session()
        (task_id,) = assigned(holder)
        before = content([task_id])
        assert finish(report(other, task_id)) == ["stale"]
        assert content([task_id]) == before
        assert attempts(task_id) == []
        assert (stale_results(other), stale_results(holder)) == (1, 0)

    @pytest.mark.parametrize("report", [done, error])
    @pytest.mark.parametrize("number", [1, 3])
    def test_is_one_for_another_attempt_of_the_holders(self, report, number):
        worker = session()
        (task_id,) = assigned(worker)
        lifecycle.release([(worker.id, task_id)], NOW)
        assign([task_id], worker)
        before = content([task_id])
        assert finish(report(worker, task_id, attempt=number)) == ["stale"]
        assert content([task_id]) == before
        assert stale_results(worker) == 1
        assert finish(report(worker, task_id, attempt=2)) == ["accepted"]

    @pytest.mark.parametrize("report", [done, error])
    def test_is_one_for_a_task_that_waits_again(self, report):
        worker = session()
        (task_id,) = assigned(worker)
        lifecycle.release([(worker.id, task_id)], NOW)
        before = content([task_id])
        assert finish(report(worker, task_id)) == ["stale"]
        assert content([task_id]) == before

    @pytest.mark.parametrize("report", [done, error])
    def test_is_one_for_a_task_that_is_terminal(self, report):
        worker = session()
        (task_id,) = assigned(worker)
        lifecycle.cancel([task_id], NOW)
        before = content([task_id])
        assert finish(report(worker, task_id, attempt=1)) == ["stale"]
        assert content([task_id]) == before

    def test_is_counted_for_each_time(self):
        worker = session()
        tasks = assigned(session(), 3)
        assert finish(*(done(worker, task_id) for task_id in tasks)) == ["stale"] * 3
        assert stale_results(worker) == 3


class TestAResultForNoTask:
    def test_is_unknown_and_counts_for_nothing(self):
        worker = session()
        assert finish(done(worker, uuid4()), error(worker, uuid4())) == ["unknown", "unknown"]
        assert stale_results(worker) == 0


class TestOneBatch:
    def test_has_a_verdict_for_each_report_in_its_order(self):
        worker, other = session(), session()
        first, second = assigned(worker, 2)
        (foreign,) = assigned(other)
        verdicts = finish(error(worker, second), done(worker, foreign), done(worker, uuid4()), done(worker, first))
        assert verdicts == ["accepted", "stale", "unknown", "accepted"]
        assert [row(i).state for i in (first, second, foreign)] == ["succeeded", "failed", "assigned"]

    @pytest.mark.parametrize("second", [done, error])
    def test_takes_the_first_of_two_results_for_a_task(self, second):
        worker = session()
        (task_id,) = assigned(worker)
        assert finish(done(worker, task_id, payload="1"), second(worker, task_id, payload="2")) == [
            "accepted",
            "stale",
        ]
        assert row(task_id).result == "1"
        assert stale_results(worker) == 1

    def test_takes_the_holders_result_though_somebody_elses_came_first(self):
        holder, late = session(), session()
        (task_id,) = assigned(late)
        lifecycle.release([(late.id, task_id)], NOW)
        assign([task_id], holder)
        assert finish(done(late, task_id, payload='"late"'), done(holder, task_id, payload='"mine"')) == [
            "stale",
            "accepted",
        ]
        assert (row(task_id).state, row(task_id).result) == ("succeeded", '"mine"')

    def test_takes_the_result_for_the_current_attempt_though_one_for_an_older_came_first(self):
        worker = session()
        (task_id,) = assigned(worker)
        lifecycle.release([(worker.id, task_id)], NOW)
        assign([task_id], worker)
        assert finish(done(worker, task_id, attempt=1), error(worker, task_id, attempt=2)) == ["stale", "accepted"]
        assert row(task_id).state == "failed"

    def test_may_hold_hundreds(self):
        worker = session()
        tasks = assigned(worker, 700)
        reports = [(done if place % 2 else error)(worker, task_id) for place, task_id in enumerate(tasks)]
        assert finish(*reports) == ["accepted"] * 700

    def test_may_be_empty(self):
        assert finish() == []


class TestAnError:
    def test_makes_the_task_failed_by_default(self):
        worker = session()
        (task_id,) = assigned(worker)
        assert finish(error(worker, task_id, "no disk", payload='{"errno":28}'), now=after(3)) == ["accepted"]
        task = row(task_id)
        assert (task.state, task.reason, task.error, task.result) == ("failed", "error", "no disk", None)
        assert (task.finished_at, task.worker_id, task.deadline, task.attempts_used) == (after(3), None, None, 1)

    def test_is_kept_as_an_attempt_with_all_that_was_said(self):
        worker = session()
        (task_id,) = assigned(worker)
        finish(error(worker, task_id, "no disk", payload='{"errno":28}'), now=after(3))
        kept = Attempt.objects.get()
        assert (kept.task_id, kept.number, kept.worker_id, kept.outcome) == (task_id, 1, worker.id, "error")
        assert (kept.assigned_at, kept.ended_at) == (NOW, after(3))
        assert (kept.error, kept.details) == ("no disk", '{"errno":28}')

    def test_that_retry_on_names_waits_for_its_backoff(self):
        worker = session()
        (task_id,) = assigned(worker, retry_on=["error"], backoff={"initial": 60, "factor": 2, "max": 600})
        assert finish(error(worker, task_id), now=after(1)) == ["accepted"]
        task = row(task_id)
        assert (task.state, task.reason, task.error) == ("pending", "", "broken")
        assert after(31) <= task.delayed_until <= after(61)
        assert (task.available_at, task.waiting_since) == (task.delayed_until, task.delayed_until)
        assert (task.worker_id, task.deadline, task.finished_at, task.attempts_used) == (None, None, None, 1)
        assert attempts(task_id) == [(1, "error")]

    def test_waits_longer_after_each_failure(self):
        worker = session()
        (task_id,) = assigned(worker, retry_on=["error"], backoff={"initial": 100, "factor": 3, "max": 1e6})
        finish(error(worker, task_id))
        lifecycle.promote(after(101))
        assign([task_id], worker, after(101))
        finish(error(worker, task_id), now=after(101))
        assert timedelta(seconds=150) <= row(task_id).delayed_until - after(101) <= timedelta(seconds=300)

    def test_without_any_backoff_is_ready_at_once(self):
        worker = session()
        (task_id,) = assigned(worker, retry_on=["error"], backoff={"initial": 0})
        finish(error(worker, task_id))
        assert (row(task_id).state, row(task_id).delayed_until) == ("pending", None)

    def test_is_retried_at_the_workers_word_against_retry_on(self):
        worker = session()
        (task_id,) = assigned(worker)
        finish(error(worker, task_id, retry=True))
        assert row(task_id).state == "pending"

    def test_waits_as_long_as_the_worker_says_in_place_of_its_backoff(self):
        worker = session()
        (task_id,) = assigned(worker, backoff={"initial": 60, "factor": 2, "max": 600})
        finish(error(worker, task_id, retry=True, retry_after=7))
        assert (row(task_id).state, row(task_id).delayed_until) == ("pending", after(7))

    def test_is_final_at_the_workers_word_against_retry_on(self):
        worker = session()
        (task_id,) = assigned(worker, retry_on=["error"])
        finish(error(worker, task_id, retry=False))
        assert (row(task_id).state, row(task_id).reason) == ("failed", "error")

    def test_is_final_when_attempts_are_used_up(self):
        worker = session()
        (task_id,) = assigned(worker, retry_on=["error"], max_attempts=2, backoff={"initial": 0})
        finish(error(worker, task_id))
        assign([task_id], worker)
        finish(error(worker, task_id, "again", retry=True))
        task = row(task_id)
        assert (task.state, task.reason, task.error, task.attempts_used) == ("failed", "error", "again", 2)
        assert attempts(task_id) == [(1, "error"), (2, "error")]
