"""The edge from pending to assigned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from queueapp import database
from queueapp.models import WorkerSession


@dataclass(frozen=True, slots=True)
class Choice:
    """The dispatcher's decision for one task."""

    task_id: UUID
    session_id: UUID
    deadline: datetime


@dataclass(frozen=True, slots=True)
class Assigned:
    """A task as its new holder is to be told; `data` is JSON text."""

    task_id: UUID
    session_id: UUID
    route_id: UUID
    name: str
    data: str
    attempt: int
    timeout_seconds: float
    deadline: datetime
    priority: int
    traceparent: str


def assign(choices: Sequence[Choice], now: datetime) -> list[Assigned]:
    """Give each task to the worker chosen for it; those that are no longer ready are left out.

    The caller holds the dispatch lock, so that no other decision uses the same room, and the sessions' rows,
    so that none of them goes before the tasks are its own.
    """
    assigned: list[Assigned] = []
    rows = [(choice.task_id, choice.session_id, choice.deadline) for choice in choices]
    with transaction.atomic(savepoint=False), connection.cursor() as cursor:
        for part in database.chunks(rows, width=3):
            values, parameters = database.values_list(part, ("uuid", "uuid", "timestamptz"))
            cursor.execute(
                f"""
                WITH choice(task_id, session_id, until) AS ({values})
                {database.locking("choice")}
                UPDATE queueapp_task AS task
                SET state = 'assigned', worker_id = choice.session_id, last_worker_id = choice.session_id,
                    attempt = task.attempt + 1, assigned_at = %s, deadline = choice.until,
                    progress = NULL, progress_message = ''
                FROM choice
                WHERE {database.locked("choice")} AND task.state = 'pending' AND task.delayed_until IS NULL
                RETURNING id, worker_id, route_id, name, data, attempt, timeout_seconds, deadline,
                    priority, traceparent
                """,
                [*parameters, database.adapt(now)],
            )
            assigned.extend(_assigned(row) for row in cursor.fetchall())
        used = {task.session_id for task in assigned}
        WorkerSession.objects.filter(pk__in=used).update(idle_since=now)
    return assigned


def _assigned(row: tuple[Any, ...]) -> Assigned:
    task_id, session_id, route_id, name, data, attempt, timeout_seconds, deadline, priority, traceparent = row
    return Assigned(
        database.as_uuid(task_id),
        database.as_uuid(session_id),
        database.as_uuid(route_id),
        name,
        data,
        attempt,
        timeout_seconds,
        database.as_datetime(deadline),
        priority,
        traceparent,
    )
