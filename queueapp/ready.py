"""Finding ready tasks: the best of each route, in the contract's order, in one statement for each database."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import connection

from queueapp import database

_COLUMNS = ", ".join(
    f"task.{column}"
    for column in (
        "id",
        "route_id",
        "priority",
        "available_at",
        "waiting_since",
        "timeout_seconds",
        "spill_after_seconds",
        "avoid",
    )
)
_ORDER = "task.priority DESC, task.available_at, task.id"
_SPILLING = "AND task.spill_after_seconds IS NOT NULL"


@dataclass(frozen=True, slots=True)
class ReadyTask:
    """A task that waits for a worker, as far as the choice needs it. `avoid`: sessions that lost it."""

    task_id: UUID
    route_id: UUID
    waiting_since: datetime
    timeout_seconds: float
    spill_after_seconds: float | None
    avoid: frozenset[UUID]


def ready_tasks(plain: Mapping[UUID, int], spilling: Mapping[UUID, int], limit: int) -> list[ReadyTask]:
    """Up to `limit` ready tasks: higher priority first, then older `available_at`, then order of submission.

    `plain` and `spilling` say how many of each route can be used at most; of the latter only tasks that may
    go to less specific workers are of use.
    """
    rows: list[tuple] = []
    for routes, condition in ((plain, ""), (spilling, _SPILLING)):
        by_room: dict[int, list[UUID]] = {}
        for route_id, room in routes.items():
            by_room.setdefault(min(room, limit), []).append(route_id)
        for room, route_ids in by_room.items():
            rows.extend(_top_of_routes(route_ids, room, condition, limit))
    rows.sort(key=lambda row: (-row[2], row[3], row[0]))
    return [_ready_task(row) for row in rows[:limit]]


def _top_of_routes(routes: Sequence[UUID], room: int, condition: str, limit: int) -> list[tuple]:
    """The first `room` tasks of each route. The literals stand in the statement, so that SQLite knows the
    partial index to apply."""
    ready = f"task.state = 'pending' AND task.delayed_until IS NULL {condition}"
    if database.is_postgresql():
        statement = f"""
            SELECT {_COLUMNS}
            FROM jsonb_array_elements_text(%s::jsonb) AS wanted(route_id)
            CROSS JOIN LATERAL (
                SELECT * FROM queueapp_task AS task
                WHERE task.route_id = wanted.route_id::uuid AND {ready}
                ORDER BY {_ORDER} LIMIT %s
            ) AS task
            ORDER BY {_ORDER} LIMIT %s
            """
    else:
        statement = f"""
            SELECT {_COLUMNS}
            FROM json_each(%s) AS wanted JOIN queueapp_task AS task ON task.id IN (
                SELECT task.id FROM queueapp_task AS task
                WHERE task.route_id = wanted.value AND {ready}
                ORDER BY {_ORDER} LIMIT %s
            )
            ORDER BY {_ORDER} LIMIT %s
            """
    wanted = json.dumps([str(database.adapt(route_id)) for route_id in routes])
    with connection.cursor() as cursor:
        cursor.execute(statement, [wanted, room, limit])
        return cursor.fetchall()


def _ready_task(row: tuple) -> ReadyTask:
    task_id, route_id, _, _, waiting_since, timeout_seconds, spill_after_seconds, avoid = row
    sessions = json.loads(avoid) if isinstance(avoid, str) else avoid
    return ReadyTask(
        database.as_uuid(task_id),
        database.as_uuid(route_id),
        database.as_datetime(waiting_since),
        timeout_seconds,
        spill_after_seconds,
        frozenset(UUID(session_id) for session_id in sessions or ()),
    )
