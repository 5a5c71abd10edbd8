"""What is over of one kind is deleted in time, whatever another kind has left."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from django.conf import settings as project_settings
from django.db import OperationalError, connection
from rows import NOW, after, begin_operation, pending

from queueapp import audit, lifecycle, retention
from queueapp.domain.states import Action
from queueapp.models import AuditEntry, Operation, Task
from queueapp.retention import KINDS, ROUND_EVERY, Retention

pytestmark = pytest.mark.django_db

LATER = after(8 * 86_400)


@pytest.fixture(autouse=True)
def portions_of_two_a_tick(settings: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.WORKQUEUE = replace(
        project_settings.WORKQUEUE, task_retention_days=7, operation_retention_days=7, audit_retention_days=7
    )
    monkeypatch.setattr(retention, "FIRST_SIZE", 2)
    monkeypatch.setattr(retention, "LARGEST_SIZE", 2)
    monkeypatch.setattr(retention, "SECONDS_A_TICK", 0.0)
    monkeypatch.setattr(retention, "SLOW_SECONDS", math.inf)  # they stay as large, whatever else the machine does


class Process:
    """Which takes one portion a tick, and is due to begin rounds at each."""

    def __init__(self) -> None:
        self._kept = Retention()
        self._now = LATER
        self._kept.tick(self._now)

    def tick(self, times: int) -> None:
        for _ in range(times):
            self._now += ROUND_EVERY
            self._kept.tick(self._now)


def an_old_entry() -> None:
    audit.record(audit.Actor("somebody"), "pause", kind="queue")
    AuditEntry.objects.update(at=NOW)


def test_a_round_that_is_not_over_when_the_next_is_due_goes_on() -> None:
    living = pending(20)
    lifecycle.cancel(pending(), NOW)
    Process().tick(11 * len(KINDS))
    assert set(Task.objects.values_list("id", flat=True)) == set(living)


def test_each_kind_has_its_turn_while_another_has_much_left() -> None:
    pending(100)
    begin_operation(Action.CANCEL)
    Operation.objects.update(state="stopped", finished_at=NOW)
    an_old_entry()
    Process().tick(len(KINDS))
    assert not Operation.objects.exists()
    assert not AuditEntry.objects.exists()


def test_a_kind_whose_round_is_over_begins_another_while_one_has_much_left() -> None:
    pending(100)
    process = Process()
    process.tick(len(KINDS))
    an_old_entry()
    process.tick(len(KINDS))
    assert not AuditEntry.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_what_fails_each_time_does_not_keep_what_comes_after_it() -> None:
    tasks = sorted(pending(6))
    lifecycle.cancel(tasks, NOW)

    def fail(execute: Any, sql: str, parameters: Any, many: bool, context: Any) -> Any:
        if "DELETE FROM queueapp_task" in sql and tasks[0].hex in str(parameters).replace("-", ""):
            raise OperationalError("could not read a block")
        return execute(sql, parameters, many, context)

    with connection.execute_wrapper(fail):
        Process().tick(4 * len(KINDS))
    assert set(Task.objects.values_list("id", flat=True)) == set(tasks[:2])
