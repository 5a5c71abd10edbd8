"""GET /metrics."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings as project_settings
from django.db import OperationalError, connection, transaction
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families
from rest_framework.test import APIClient

from queueapp import counters, database, lifecycle
from queueapp.api import metrics
from queueapp.lifecycle import Report
from queueapp.models import Task
from tests.transports.conftest import assert_problem, assign, attached, finish, submit

pytestmark = pytest.mark.django_db(transaction=True)

NAME = "tag"
Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


def read(**headers: str) -> Series:
    response = Client().get("/metrics", headers=headers)
    assert response.status_code == 200
    assert response["Content-Type"].startswith("text/plain")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(response.content.decode())
        for sample in family.samples
    }


def value(series: Series, metric: str, **labels: str) -> float:
    return series.get((f"workqueue_{metric}", frozenset(labels.items())), 0)


@pytest.fixture(autouse=True)
def _counted_afresh() -> None:
    metrics._rows.forget()


class TestCounters:
    def grown(self, before: Series, metric: str, **labels: str) -> float:
        return value(read(), metric, **labels) - value(before, metric, **labels)

    def test_tell_of_a_task_that_succeeds(self, operator: APIClient) -> None:
        before, session = read(), attached(NAME)
        task_id = submit(operator)
        assign(task_id, session)
        finish(task_id, session)
        assert self.grown(before, "tasks_submitted_total", name=NAME) == 1
        assert self.grown(before, "attempts_ended_total", name=NAME, outcome="done") == 1
        assert self.grown(before, "tasks_finished_total", name=NAME, state="succeeded") == 1

    def test_tell_of_failures_by_their_outcome(self, operator: APIClient) -> None:
        before, session = read(), attached(NAME)
        task_id = submit(operator)
        assign(task_id, session)
        finish(task_id, session, done=False, error="it broke")
        assert self.grown(before, "attempts_ended_total", name=NAME, outcome="error") == 1
        assert self.grown(before, "tasks_finished_total", name=NAME, state="failed") == 1

    def test_tell_of_what_is_tried_again_as_an_attempt_only(self, operator: APIClient) -> None:
        before, session = read(), attached(NAME)
        task_id = submit(operator)
        assign(task_id, session)
        lifecycle.release([(session.id, UUID(task_id))], database.now())
        assert self.grown(before, "attempts_ended_total", name=NAME, outcome="released") == 1
        assert self.grown(before, "tasks_finished_total", name=NAME, state="failed") == 0

    def test_tell_of_cancelled_and_expired_tasks(self, operator: APIClient) -> None:
        before, session = read(), attached(NAME)
        task_id = submit(operator)
        assign(task_id, session)
        operator.post(f"/api/v1/tasks/{task_id}/cancel")
        submit(operator, expires_in=1)
        lifecycle.expire(database.now() + timedelta(seconds=2))
        assert self.grown(before, "attempts_ended_total", name=NAME, outcome="cancelled") == 1
        assert self.grown(before, "tasks_finished_total", name=NAME, state="cancelled") == 1
        assert self.grown(before, "tasks_finished_total", name=NAME, state="expired") == 1

    def test_tell_of_stale_results(self, operator: APIClient) -> None:
        before, session = read(), attached(NAME)
        assert lifecycle.finish([Report(session.id, UUID(submit(operator)), True)], database.now()) == ["stale"]
        assert self.grown(before, "results_stale_total") == 1

    def test_tell_nothing_of_what_is_rolled_back(self, operator: APIClient) -> None:
        before = read()
        with transaction.atomic():
            submit(operator)
            transaction.set_rollback(True)
        assert not Task.objects.exists()
        assert self.grown(before, "tasks_submitted_total", name=NAME) == 0

    def test_tell_names_apart_up_to_a_number(self, operator: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(counters, "NAMES", len(counters._known))
        before = read()
        submit(operator, name="one-too-many")
        assert self.grown(before, "tasks_submitted_total", name="one-too-many") == 0
        assert self.grown(before, "tasks_submitted_total", name=counters.OTHERS) == 1


class TestGauges:
    def test_tell_of_live_tasks_by_name_and_state(self, operator: APIClient) -> None:
        session = attached(NAME)
        assign(submit(operator), session)
        for cloud in ("aws", "gcp"):
            submit(operator, attrs={"cloud": cloud})
        submit(operator, name="other", delay=60)
        submit(operator, name="other", concurrency_key="k")
        operator.post(f"/api/v1/tasks/{submit(operator)}/cancel")
        series = read()
        live = {labels: number for (metric, labels), number in series.items() if metric == "workqueue_tasks"}
        assert live == {
            frozenset({("name", NAME), ("state", "assigned")}): 1,
            frozenset({("name", NAME), ("state", "ready")}): 2,
            frozenset({("name", "other"), ("state", "delayed")}): 1,
            frozenset({("name", "other"), ("state", "held_back")}): 1,
        }

    def test_tell_of_workers_and_processes(self) -> None:
        attached(NAME)
        series = read()
        assert value(series, "workers", state="online") == 1
        assert value(series, "workers", state="draining") == 0
        assert value(series, "nodes") == 1

    def test_count_no_more_than_a_bound(self, operator: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(metrics, "ROWS", 4)
        for cloud in ("aws", "gcp"):
            for _ in range(3):
                submit(operator, attrs={"cloud": cloud})
        assert value(read(), "tasks", name=NAME, state="ready") == 4

    def test_are_counted_once_for_many_scrapes(self, operator: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(metrics, "KEPT_SECONDS", 3600)
        read()
        submit(operator)
        assert value(read(), "tasks", name=NAME, state="ready") == 0
        metrics._rows.forget()
        assert value(read(), "tasks", name=NAME, state="ready") == 1

    def test_are_left_out_without_the_database(self) -> None:
        def refuse(*args: Any, **kwargs: Any) -> None:
            raise OperationalError("the server closed the connection unexpectedly")

        with connection.execute_wrapper(refuse):
            series = read()
        assert value(series, "database_reachable") == 0
        assert any(metric == "process_start_time_seconds" for metric, _ in series)
        metrics._rows.forget()
        assert value(read(), "database_reachable") == 1


class TestReaders:
    @pytest.mark.parametrize("accept", ["text/plain", "application/openmetrics-text;q=0.5", "*/*"])
    def test_are_all_by_default(self, accept: str) -> None:
        read(accept=accept)

    def test_are_operators_where_that_is_set(
        self, operator: APIClient, producer: APIClient, settings: Any
    ) -> None:
        settings.WORKQUEUE = replace(project_settings.WORKQUEUE, metrics_need_key=True)
        assert_problem(APIClient().get("/metrics"), 401)
        assert_problem(producer.get("/metrics"), 403)
        assert operator.get("/metrics").status_code == 200
