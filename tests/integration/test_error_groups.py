"""Tasks that fail by the same cause are put into one group, in the transaction of their end."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rows import NOW, after, assigned, done, error, row, session

from queueapp import lifecycle
from queueapp.domain.fingerprints import error_group
from queueapp.domain.states import Outcome
from queueapp.models import Attempt, Task

pytestmark = pytest.mark.django_db


@pytest.fixture
def worker():
    return session()


def kept(task_id):
    """Of the task's attempts: the group, and whether the task failed with it."""
    return list(row(task_id).attempts.order_by("number").values_list("error_group", "is_final"))


class TestATaskThatFails:
    def test_is_in_the_group_of_its_error_and_so_is_its_attempt(self, worker):
        [task_id] = assigned(worker)
        lifecycle.finish([error(worker, task_id, "no room on disk 7")], NOW)
        group = error_group("tag", "no room on disk 8")
        assert row(task_id).error_group == group
        assert kept(task_id) == [(group, True)]

    def test_is_in_no_group_with_one_of_another_name(self, worker):
        tasks = assigned(worker) + assigned(worker, name="collect")
        lifecycle.finish([error(worker, task_id) for task_id in tasks], NOW)
        assert row(tasks[0]).error_group != row(tasks[1]).error_group

    def test_has_a_group_also_without_a_text(self, worker):
        [task_id] = assigned(worker)
        lifecycle.finish([error(worker, task_id, "")], NOW)
        assert row(task_id).error_group == error_group("tag", "")

    @pytest.mark.parametrize("outcome", [Outcome.LOST, Outcome.TIMEOUT])
    def test_because_its_last_worker_was_lost_or_silent_is_in_a_group(self, worker, outcome):
        [task_id] = assigned(worker, max_attempts=1)
        if outcome is Outcome.LOST:
            lifecycle.rescue({worker.id: outcome}, NOW)
        else:
            lifecycle.time_out(after(301))
        assert row(task_id).state == "failed"
        assert row(task_id).error_group == error_group("tag", row(task_id).error)

    def test_and_is_retried_is_in_none_any_more(self, worker):
        [task_id] = assigned(worker)
        lifecycle.finish([error(worker, task_id)], NOW)
        lifecycle.retry([task_id], NOW)
        assert row(task_id).error_group is None
        assert kept(task_id) == [(error_group("tag", "broken"), True)]


class TestAnErrorThatIsTriedAgain:
    def test_is_in_its_group_and_the_task_is_not(self, worker):
        [task_id] = assigned(worker, retry_on=["error"])
        lifecycle.finish([error(worker, task_id)], NOW)
        assert row(task_id).state == "pending"
        assert row(task_id).error_group is None
        assert kept(task_id) == [(error_group("tag", "broken"), False)]


class TestNoGroupIsMadeOf:
    def test_what_was_given_back_or_cancelled(self, worker):
        given_back, cancelled = assigned(worker, 2)
        lifecycle.release([(worker.id, given_back)], NOW)
        lifecycle.cancel([cancelled], NOW)
        assert kept(given_back) == kept(cancelled) == [(None, None)]
        assert not Task.objects.filter(error_group__isnull=False).exists()

    def test_what_succeeds_of_which_no_statement_speaks_of_groups(self, worker):
        [one] = assigned(worker)
        with CaptureQueriesContext(
            connection,
        ) as captured:
            lifecycle.finish([done(worker, one)], NOW)
        assert not [query["sql"] for query in captured if "error_group" in query["sql"]]
        assert not Attempt.objects.exists()


class TestManyThatFailAtOnce:
    def test_take_as_many_statements_as_one(self, worker):
        """Of many groups: none is looked for, none is written to."""

        def statements(count):
            tasks = assigned(worker, count)
            reports = [error(worker, task_id, f"broken in {'x' * n}") for n, task_id in enumerate(tasks)]
            with CaptureQueriesContext(connection) as captured:
                lifecycle.finish(reports, NOW)
            return len(captured)

        assert statements(1) == statements(50)
        assert Attempt.objects.values("error_group").distinct().count() == 50
