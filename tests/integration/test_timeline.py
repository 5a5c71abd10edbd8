"""What became of a task, step by step, as its page tells it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from rows import NOW, after, assign, assigned, done, error, pending, row, session

from queueapp import lifecycle
from queueapp.domain.states import Outcome
from queueapp.models import Attempt, Task
from queueapp.timeline import ATTEMPTS, timeline

pytestmark = pytest.mark.django_db


@pytest.fixture
def worker():
    return session(name="w7")


def told(task_id, now=NOW):
    """The steps: what, when, and for how many seconds."""
    task = Task.objects.select_related("worker", "last_worker").get(pk=task_id)
    return [
        (step.text, (step.begins_at - NOW).total_seconds(), step.duration and step.duration.total_seconds())
        for step in timeline(task, now).steps
    ]


def placed(task_id, now):
    return [(step.left, step.width) for step in timeline(row(task_id), now).steps]


class TestATask:
    def test_that_waits_has_done_so_since_it_was_submitted(self):
        [task_id] = pending()
        assert told(task_id, after(5)) == [("submitted", 0, None), ("waiting", 0, 5)]

    def test_that_is_delayed_is_called_so(self):
        [task_id] = pending(delay=60)
        assert told(task_id, after(5))[-1] == ("delayed", 0, 5)

    def test_that_runs_has_its_worker(self, worker):
        [task_id] = pending()
        assign([task_id], worker, after(2))
        assert told(task_id, after(5)) == [
            ("submitted", 0, None),
            ("waiting", 0, 2),
            ("attempt 1: running", 2, 3),
        ]
        task = Task.objects.select_related("worker").get(pk=task_id)
        assert timeline(task, after(5)).steps[-1].worker == worker

    def test_that_succeeded_at_once_has_the_attempt_that_is_not_stored(self, worker):
        [task_id] = assigned(worker)
        lifecycle.finish([done(worker, task_id)], after(4))
        assert told(task_id, after(9)) == [
            ("submitted", 0, None),
            ("attempt 1: done", 0, 4),
            ("succeeded", 4, None),
        ]

    def test_that_succeeded_after_a_loss_has_both_attempts(self, worker):
        [task_id] = assigned(worker)
        lifecycle.rescue({worker.id: Outcome.LOST}, after(3))
        assign([task_id], worker, after(4))
        lifecycle.finish([done(worker, task_id)], after(6))
        assert told(task_id, after(9))[1:] == [
            ("attempt 1: lost", 0, 3),
            ("waiting", 3, 1),
            ("attempt 2: done", 4, 2),
            ("succeeded", 6, None),
        ]

    def test_that_was_retried_was_over_meanwhile(self, worker):
        [task_id] = assigned(worker)
        lifecycle.finish([error(worker, task_id)], after(1))
        lifecycle.retry([task_id], after(100))
        assign([task_id], worker, after(101))
        assert told(task_id, after(102))[1:] == [
            ("attempt 1: error", 0, 1),
            ("over, retried and waiting", 1, 100),
            ("attempt 2: running", 101, 1),
        ]

    def test_that_was_cancelled_while_it_waited_has_no_attempt(self):
        [task_id] = pending()
        lifecycle.cancel([task_id], after(7))
        assert told(task_id, after(9)) == [("submitted", 0, None), ("waiting", 0, 7), ("cancelled", 7, None)]


class TestThousandsOfAttempts:
    @pytest.fixture
    def task_id(self, worker):
        [task_id] = assigned(worker)
        at = {number: after(number) for number in range(1, 3001)}
        Attempt.objects.bulk_create(
            Attempt(
                task_id=task_id, number=n, worker=worker, outcome="released", assigned_at=at[n], ended_at=at[n]
            )
            for n in range(1, 3000)
        )
        Task.objects.filter(pk=task_id).update(attempt=3000, assigned_at=after(3000))
        return task_id

    def test_are_told_from_the_latest_back_with_the_number_of_the_others(self, task_id):
        line = timeline(row(task_id), after(3010))
        numbers = [step.row.number for step in line.steps if step.row]
        assert (numbers[0], numbers[-1], line.left_out) == (3000 - ATTEMPTS + 1, 2999, 3000 - ATTEMPTS)

    def test_have_bars_of_the_time_that_is_shown(self, task_id):
        *_, (left, width) = placed(task_id, after(3000 + ATTEMPTS))
        assert 40 < left < 60
        assert 40 < width <= 100 - left

    def test_are_read_without_the_whole_of_their_texts(self, task_id, django_assert_num_queries):
        Attempt.objects.filter(task=task_id, number=2999).update(error="x" * 100_000, details='"y"' * 50_000)
        with django_assert_num_queries(1):
            task = Task(id=task_id, attempt=3000, state="assigned", created_at=NOW, assigned_at=after(3000))
            [latest] = [
                step.row for step in timeline(task, after(3010)).steps if step.row and step.row.number == 2999
            ]
        assert (len(vars(latest)["error_start"]), vars(latest)["error_length"]) == (2000, 100_000)
        assert {"error", "details"} <= latest.get_deferred_fields()


class TestTheBars:
    def test_lie_within_the_line_whatever_the_clocks_say(self, worker):
        [task_id] = pending()
        assign([task_id], worker, after(-5))  # by a process whose clock was behind
        for now in (NOW, after(-60), after(60), NOW + timedelta(days=400)):
            for left, width in placed(task_id, now):
                assert 0 <= left < 100
                assert 0 < width <= 100 - left + 0.01

    def test_are_as_long_as_what_they_stand_for(self, worker):
        [task_id] = pending()
        assign([task_id], worker, after(25))
        _, waiting, running = placed(task_id, after(100))
        assert waiting == (0, 25)
        assert running == (25, 75)
