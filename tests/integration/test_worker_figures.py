"""What a worker's row says of its results: counted where it is written anyway."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rows import NOW, after, assigned, done, error, session

from queueapp import lifecycle
from queueapp.models import WorkerSession

pytestmark = pytest.mark.django_db


def figures(worker: WorkerSession) -> tuple[int, int]:
    return WorkerSession.objects.values_list("done", "errors").get(pk=worker.pk)


def recent(worker: WorkerSession) -> tuple[int, int]:
    return WorkerSession.objects.values_list("ended_in_minute", "ended_in_previous").get(pk=worker.pk)


def finish(worker: WorkerSession, count: int, seconds: float) -> None:
    reports = [done(worker, task_id) for task_id in assigned(worker, count)]
    assert lifecycle.finish(reports, after(seconds)) == ["accepted"] * count


class TestResults:
    def test_that_are_accepted_are_counted_by_what_they_say(self):
        worker, other = session(), session()
        tasks = assigned(worker, 4)
        lifecycle.finish([done(worker, tasks[0]), done(worker, tasks[1]), error(worker, tasks[2])], NOW)
        lifecycle.finish([done(worker, tasks[3])], NOW)
        assert (figures(worker), figures(other)) == ((3, 1), (0, 0))

    def test_that_are_stale_are_not(self):
        worker, other = session(), session()
        (task,) = assigned(worker)
        assert lifecycle.finish([done(other, task), done(worker, task), error(worker, task)], NOW) == [
            "stale",
            "accepted",
            "stale",
        ]
        assert (figures(worker), figures(other)) == ((1, 0), (0, 0))

    def test_cost_no_statement_and_no_version_of_a_row_beside_the_one_that_says_who_is_idle(self):
        worker = session()
        tasks = assigned(worker, 3)
        with CaptureQueriesContext(connection) as asked:
            lifecycle.finish([done(worker, task) for task in tasks], NOW)
        written = [query["sql"] for query in asked if "UPDATE queueapp_workersession" in query["sql"]]
        assert len(written) == 1
        assert WorkerSession.objects.get(pk=worker.pk).idle_since == NOW


class TestTheLastTwoMinutes:
    def test_are_counted_apart(self):
        worker = session()
        finish(worker, 3, seconds=0)
        finish(worker, 2, seconds=59)
        assert recent(worker) == (5, 0)
        finish(worker, 1, seconds=60)
        assert recent(worker) == (1, 5)

    def test_are_over_when_nothing_has_ended_for_longer(self):
        worker = session()
        finish(worker, 3, seconds=0)
        finish(worker, 1, seconds=180)
        assert recent(worker) == (1, 0)
