"""Rows for the lifecycle's tests: sessions without sockets, tasks and operations by the real verbs, and a clock
that stands."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from queueapp import lifecycle, operations
from queueapp.domain.states import Action
from queueapp.domain.submission import Limits, Submission, parse_submission
from queueapp.lifecycle import Choice, Report, activity
from queueapp.models import Node, Operation, Task, WorkerSession
from queueapp.retention import KINDS, Sweep

NOW = datetime(2030, 1, 31, 12, tzinfo=UTC)


def after(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def node() -> Node:
    return Node.objects.create(host="host", pid=1, started_at=NOW, lease_until=after(6))


def session(**fields: Any) -> WorkerSession:
    values = {"max_outstanding": 100, "connected_at": NOW, "idle_since": NOW, **fields}
    if "node" not in values:
        values["node"] = Node.objects.first() or node()
    return WorkerSession.objects.create(**values)


def submission(name: str = "tag", **members: Any) -> Submission:
    return parse_submission({"name": name, **members}, NOW, Limits())


def pending(count: int = 1, **members: Any) -> list[UUID]:
    receipts = lifecycle.submit([submission(**members) for _ in range(count)], None, NOW)
    return [receipt.task_id for receipt in receipts]


def assign(task_ids: Iterable[UUID], worker: WorkerSession, now: datetime = NOW) -> list[UUID]:
    """Those of the tasks that the worker was given."""
    timeouts = dict(Task.objects.filter(pk__in=list(task_ids)).values_list("id", "timeout_seconds"))
    choices = [Choice(i, worker.id, now + timedelta(seconds=timeouts[i])) for i in task_ids]
    return [assigned.task_id for assigned in lifecycle.assign(choices, now)]


def assigned(worker: WorkerSession, count: int = 1, **members: Any) -> list[UUID]:
    tasks = pending(count, **members)
    assert assign(tasks, worker) == tasks
    return tasks


def done(worker: WorkerSession, task_id: UUID, **fields: Any) -> Report:
    return Report(worker.id, task_id, done=True, **fields)


def error(worker: WorkerSession, task_id: UUID, text: str = "broken", **fields: Any) -> Report:
    return Report(worker.id, task_id, done=False, error=text, **fields)


def begin_operation(action: Action, now: datetime = NOW, **filters: Any) -> Operation:
    """Asked for by somebody who may touch every task; over all of them where there is no filter."""
    document = filters or {"all": True}
    return operations.start(action, document, tasks_of=None, names=None, asked_by="a test", now=now)


def carry_out(operation_id: UUID) -> Operation:
    while operations.carry_on(operation_id):
        pass
    return Operation.objects.get(pk=operation_id)


def a_round_of_retention(now: datetime) -> None:
    """Of each kind."""
    for kind in KINDS:
        for _ in Sweep(kind).round(now):
            pass


def after_the_tick(worker: WorkerSession) -> WorkerSession:
    """The worker's row, once what was noted of it is written there."""
    activity.write_noted()
    worker.refresh_from_db()
    return worker


def row(task_id: UUID) -> Task:
    return Task.objects.get(pk=task_id)


def content(task_ids: Iterable[UUID]) -> list[dict[str, Any]]:
    """Everything that the rows say of the tasks, to see that nothing has changed."""
    return list(Task.objects.filter(pk__in=list(task_ids)).order_by("id").values())


def attempts(task_id: UUID) -> list[tuple[int, str]]:
    return list(row(task_id).attempts.order_by("number").values_list("number", "outcome"))
