"""What is over is found by the key of its table, and what belongs to it by an index."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings as project_settings
from plans import analyse, explained, plans_of
from rows import NOW, a_round_of_retention, after, pending, session

from queueapp import audit, lifecycle, operations, retention, sessions
from queueapp.domain.states import Action, Outcome
from queueapp.models import Delivery, Node, Operation
from queueapp.retention import KINDS, Kind
from queueapp.sessions import Closing

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.only_on("sqlite", reason="plans are read as SQLite writes them"),
]

YEARS = after(1000 * 86_400)


@pytest.fixture(autouse=True)
def rows(settings: Any) -> None:
    """Some of each kind, over, and the planner told of them."""
    settings.WORKQUEUE = replace(project_settings.WORKQUEUE, task_retention_days=1)
    lifecycle.cancel(pending(50, callback_url="https://hooks.example/"), NOW)
    Delivery.objects.update(state="delivered", next_attempt_at=None, ended_at=NOW)
    unbound: dict[str, Any] = {"tasks_of": None, "names": None, "asked_by": "a test"}
    for _ in range(20):
        operations.start(Action.CANCEL, {"all": True}, **unbound, now=NOW)
        audit.record(audit.Actor("somebody"), "pause", kind="queue")
    Operation.objects.update(state="stopped", finished_at=NOW)
    for _ in range(20):
        sessions.close([Closing(session().id, Outcome.LOST, 1006)], NOW)
    Node.objects.update(stopped_at=NOW)
    analyse()


TABLES = {
    f"queueapp_{table}"
    for table in (
        "task",
        "attempt",
        "delivery",
        "operation",
        "workersession",
        "subscription",
        "node",
        "auditentry",
    )
}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.model.__name__)
def test_a_portion_is_a_step_in_the_key(kind: Kind) -> None:
    after_it: Any = 7 if kind.in_order else UUID(int=7)
    [plan] = plans_of(lambda: list(kind.portion(after_it, YEARS, 200)))
    key = "INTEGER PRIMARY KEY (rowid>?)" if kind.in_order else "sqlite_autoindex_"
    assert plan.startswith("SEARCH "), plan
    assert key in plan, plan
    assert "B-TREE" not in plan, plan
    assert kind.in_order or "(id>? AND id<?)" in plan, plan


def test_nothing_is_scanned_when_it_is_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "FIRST_SIZE", 3)
    monkeypatch.setattr(retention, "LARGEST_SIZE", 3)
    plans = explained(lambda: a_round_of_retention(YEARS), "queueapp_")
    deleted = {table for table in TABLES for sql, _ in plans if f"DELETE FROM {table}" in sql.replace('"', "")}
    assert deleted == TABLES
    for sql, plan in plans:
        for table in (*TABLES, "owed"):
            assert f"SCAN {table}" not in plan, (sql, plan)
