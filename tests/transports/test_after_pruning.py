"""Pages and answers about what is kept, of which a worker session or an operation is not kept any more."""

from __future__ import annotations

from datetime import timedelta

import pytest
from admin_rows import Scene, list_url, page_url, scene, shown
from django.test import Client

from queueapp import audit, database, sessions
from queueapp.domain.states import Outcome
from queueapp.models import Attempt, Operation, Task, WorkerSession
from queueapp.sessions import Closing
from tests.integration.rows import a_round_of_retention
from tests.transports.conftest import Caller

pytestmark = pytest.mark.django_db


@pytest.fixture
def pruned() -> Scene:
    """All that ever worked has gone long since."""
    rows = scene()
    now = database.now()
    operation = Operation.objects.create(
        action="cancel", filter={"all": True}, state="done", asked_by="ada", created_at=now, finished_at=now
    )
    audit.record(audit.Actor("ada"), "cancel", kind="operation", subject=str(operation.pk))
    workers = list(WorkerSession.objects.values_list("id", flat=True))
    sessions.close([Closing(worker, Outcome.LOST, 1006) for worker in workers], now)
    a_round_of_retention(now + timedelta(days=31))
    assert not WorkerSession.objects.exists()
    assert not Operation.objects.exists()
    return rows


@pytest.mark.parametrize("model", ["task", "attempt", "workersession", "node", "operation", "auditentry"])
def test_its_list_is_shown(admin_client: Client, pruned: Scene, model: str) -> None:
    shown(admin_client, list_url(model))


def test_the_pages_of_tasks_and_attempts_are_shown(admin_client: Client, pruned: Scene) -> None:
    for task_id in Task.objects.values_list("pk", flat=True):
        shown(admin_client, page_url("task", task_id))
    attempts = list(Attempt.objects.filter(worker_id__isnull=False).values_list("pk", flat=True))
    assert attempts
    for attempt_id in attempts:
        shown(admin_client, page_url("attempt", attempt_id))


@pytest.mark.parametrize("path", ["overview", "errors", "coverage", "sandbox"])
def test_the_other_pages_are_shown(admin_client: Client, pruned: Scene, path: str) -> None:
    shown(admin_client, "/admin/" if path == "overview" else f"/admin/{path}/")


def test_tasks_and_attempts_are_read_by_the_api(caller: Caller, pruned: Scene) -> None:
    operator = caller("operator")
    for task_id in Task.objects.values_list("pk", flat=True):
        for path in ("", "/attempts", "/explain"):
            assert operator.get(f"/api/v1/tasks/{task_id}{path}").status_code == 200
