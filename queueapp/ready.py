"""Finding ready tasks: the best of each route, in the contract's order, in one statement for each database."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
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
_READY = "task.state = 'pending' AND task.delayed_until IS NULL"
"""Literals, not parameters, so that SQLite knows the partial index to apply."""
_ORDER = "task.priority DESC, task.available_at, task.id"


@dataclass(frozen=True, slots=True)
class ReadyTask:
    """A task that waits for a worker, as far as the choice needs it. `avoid`: sessions that lost it."""

    task_id: UUID
    route_id: UUID
    priority: int
    available_at: datetime
    waiting_since: datetime
    timeout_seconds: float
    spill_after_seconds: float | None
    avoid: frozenset[UUID]

    @property
    def order(self) -> tuple[int, datetime, UUID]:
        """Higher priority first, then older `available_at`, then order of submission."""
        return -self.priority, self.available_at, self.task_id


@dataclass(frozen=True, slots=True)
class Spill:
    """The room for a route's tasks that may go `levels` down from the most specific workers, or further."""

    room: int
    levels: int


def ready_tasks(room: Mapping[UUID, int], limit: int) -> list[ReadyTask]:
    """Up to `limit` ready tasks of the routes, best first; of each route no more than there is room for."""
    by_room: dict[int, list[UUID]] = {}
    for route_id, number in room.items():
        by_room.setdefault(min(number, limit), []).append(route_id)
    rows = [row for number, routes in by_room.items() for row in _top_of_routes(routes, number, limit, _READY)]
    return _best(rows, limit)


def spilled_tasks(spills: Mapping[UUID, Spill], limit: int, now: datetime) -> list[ReadyTask]:
    """As `ready_tasks`, of those that have waited long enough for the levels of their route."""
    by_spill: dict[Spill, list[UUID]] = {}
    for route_id, spill in spills.items():
        by_spill.setdefault(Spill(min(spill.room, limit), spill.levels), []).append(route_id)
    elapsed = database.elapsed_seconds("task.waiting_since")
    condition = f"{_READY} AND task.spill_after_seconds IS NOT NULL AND {elapsed} >= %s * task.spill_after_seconds"
    rows = [
        row
        for spill, routes in by_spill.items()
        for row in _top_of_routes(routes, spill.room, limit, condition, database.adapt(now), spill.levels)
    ]
    return _best(rows, limit)


def routes_with_ready_tasks(after: UUID | None, limit: int) -> list[UUID]:
    """The next `limit` routes, by id, that have ready tasks: one step in the index for each route, however
    many tasks it has."""
    following = f"""
        SELECT task.route_id FROM queueapp_task AS task WHERE {_READY} AND task.route_id > {{}}
        ORDER BY task.route_id LIMIT 1
        """
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            WITH RECURSIVE route(id) AS (
                SELECT ({following.format("%s")})
                UNION ALL
                SELECT ({following.format("route.id")}) FROM route WHERE route.id IS NOT NULL
            )
            SELECT id FROM route WHERE id IS NOT NULL LIMIT %s
            """,
            [database.adapt(after or UUID(int=0)), limit],
        )
        return [database.as_uuid(row[0]) for row in cursor.fetchall()]


def _top_of_routes(
    routes: Sequence[UUID], number: int, limit: int, condition: str, *parameters: Any
) -> list[tuple[Any, ...]]:
    if database.is_postgresql():
        statement = f"""
            SELECT {_COLUMNS}
            FROM jsonb_array_elements_text(%s::jsonb) AS wanted(route_id)
            CROSS JOIN LATERAL (
                SELECT * FROM queueapp_task AS task
                WHERE task.route_id = wanted.route_id::uuid AND {condition}
                ORDER BY {_ORDER} LIMIT %s
            ) AS task
            ORDER BY {_ORDER} LIMIT %s
            """
    else:
        statement = f"""
            SELECT {_COLUMNS}
            FROM json_each(%s) AS wanted JOIN queueapp_task AS task ON task.id IN (
                SELECT task.id FROM queueapp_task AS task
                WHERE task.route_id = wanted.value AND {condition}
                ORDER BY {_ORDER} LIMIT %s
            )
            ORDER BY {_ORDER} LIMIT %s
            """
    wanted = json.dumps([str(database.adapt(route_id)) for route_id in routes])
    with connection.cursor() as cursor:
        cursor.execute(statement, [wanted, *parameters, number, limit])
        return cursor.fetchall()


def _best(rows: Iterable[tuple[Any, ...]], limit: int) -> list[ReadyTask]:
    return sorted(map(_ready_task, rows), key=lambda task: task.order)[:limit]


def _ready_task(row: tuple[Any, ...]) -> ReadyTask:
    task_id, route_id, priority, available_at, waiting_since, timeout_seconds, spill_after_seconds, avoid = row
    sessions = json.loads(avoid) if isinstance(avoid, str) else avoid
    return ReadyTask(
        database.as_uuid(task_id),
        database.as_uuid(route_id),
        priority,
        database.as_datetime(available_at),
        database.as_datetime(waiting_since),
        timeout_seconds,
        spill_after_seconds,
        frozenset(UUID(session_id) for session_id in sessions or ()),
    )
