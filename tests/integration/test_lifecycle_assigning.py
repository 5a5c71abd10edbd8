"""From pending to assigned."""

from __future__ import annotations

import pytest
from rows import NOW, after, after_the_tick, assign, assigned, content, done, pending, row, session

from queueapp import lifecycle
from queueapp.domain.states import Outcome
from queueapp.lifecycle import Choice

pytestmark = pytest.mark.django_db


class TestAnAssignedTask:
    def test_has_a_holder_a_deadline_and_a_numbered_attempt(self):
        worker = session()
        (task_id,) = pending(timeout=30)
        assert assign([task_id], worker, after(5)) == [task_id]
        task = row(task_id)
        assert (task.state, task.worker_id, task.last_worker_id) == ("assigned", worker.id, worker.id)
        assert (task.attempt, task.attempts_used) == (1, 0)
        assert (task.assigned_at, task.deadline) == (after(5), after(35))

    def test_is_told_with_all_that_its_worker_needs(self):
        worker = session()
        (task_id,) = pending(data={"a": "é"}, attrs={"cloud": "aws"}, priority=3, timeout=30)
        (told,) = lifecycle.assign([Choice(task_id, worker.id, after(30))], NOW)
        assert (told.task_id, told.session_id, told.route_id) == (task_id, worker.id, row(task_id).route_id)
        assert (told.name, told.data, told.attempt, told.priority) == ("tag", '{"a":"é"}', 1, 3)
        assert (told.timeout_seconds, told.deadline, told.traceparent) == (30.0, after(30), "")

    def test_is_told_in_its_turn_though_tasks_are_locked_in_another_order(self):
        worker = session()
        tasks = pending(9)[::-1]
        assert assign(tasks, worker) == tasks

    def test_starts_its_next_attempt_without_the_progress_of_the_last(self):
        first, second = session(), session()
        (task_id,) = assigned(first)
        lifecycle.prolong([lifecycle.SignOfLife(first.id, task_id, progress=0.9, message="nearly")], NOW)
        lifecycle.release([(first.id, task_id)], NOW)
        assign([task_id], second)
        task = row(task_id)
        assert (task.attempt, task.progress, task.progress_message) == (2, None, "")

    def test_makes_its_worker_idle_since_now(self):
        busy, other = session(), session()
        assign(pending(), busy, after(5))
        assert (after_the_tick(busy).idle_since, after_the_tick(other).idle_since) == (after(5), NOW)


class TestLeftOutIs:
    def test_a_task_that_is_delayed(self):
        (task_id,) = pending(delay=60)
        before = content([task_id])
        assert assign([task_id], session()) == []
        assert content([task_id]) == before

    def test_a_task_that_another_worker_holds(self):
        holder, late = session(), session()
        (task_id,) = assigned(holder)
        before = content([task_id])
        assert assign([task_id], late, after(1)) == []
        assert content([task_id]) == before
        assert after_the_tick(late).idle_since == NOW

    @pytest.mark.parametrize("end", ["succeeded", "cancelled", "expired"])
    def test_a_task_that_is_terminal(self, end):
        worker = session()
        (task_id,) = pending(expires_in=1)
        match end:
            case "succeeded":
                assign([task_id], worker)
                lifecycle.finish([done(worker, task_id)], NOW)
            case "cancelled":
                lifecycle.cancel([task_id], NOW)
            case "expired":
                lifecycle.expire(after(2))
        before = content([task_id])
        assert before[0]["state"] == end
        assert assign([task_id], worker) == []
        assert content([task_id]) == before

    def test_not_the_ready_one_beside_them(self):
        worker = session()
        ready, delayed, held = *pending(), *pending(delay=60), *assigned(session())
        assert assign([delayed, ready, held], worker) == [ready]

    def test_a_released_task_no_more(self):
        first, second = session(), session()
        (task_id,) = assigned(first)
        lifecycle.rescue({first.id: Outcome.RELEASED}, NOW)
        assert assign([task_id], second) == [task_id]


def test_nothing_to_assign_is_nothing_assigned():
    assert lifecycle.assign([], NOW) == []


def test_hundreds_of_tasks_are_assigned_in_one_go():
    worker = session()
    tasks = pending(700)
    assert sorted(assign(tasks, worker)) == tasks
