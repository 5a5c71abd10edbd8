"""What a submission writes: the queues and routes that are new, and its tasks.

Queues by name, then routes by id, then tasks by unique key, whoever writes them: two who met crosswise would wait
for each other.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from functools import cache
from typing import NamedTuple
from uuid import UUID

from queueapp import database, naming, statements
from queueapp.models import ApiKey
from queueapp.statements import Given

DEFAULT_TIMEOUT_SECONDS = 300.0
DEFAULT_MAX_ATTEMPTS = 4
BATCH = 5000
"""Tasks a statement."""

_ROUTES = Given("route", route_id="uuid", name="text", attrs="text")
_TASKS = Given(
    "task",
    task_id="uuid",
    route_id="uuid",
    name="text",
    data="text",
    priority="smallint",
    max_attempts="integer",
    timeout_seconds="double precision",
    spill_after_seconds="double precision",
    retry_on="text",
    backoff="text",
    tags="text",
    unique_key="text",
    concurrency_key="text",
    traceparent="text",
    expires_at="timestamptz",
    delayed_until="timestamptz",
    callback_url="text",
    submitted_by="bigint",
    available_at="timestamptz",
)


class NewRoute(NamedTuple):
    """Of `_ROUTES`, in the order of its columns. `attrs` is JSON text."""

    route_id: UUID
    name: str
    attrs: str


class NewTask(NamedTuple):
    """Of `_TASKS`, in the order of its columns. What is None and the queue has a default for gets that.
    `submitted_by`: where not all have the same key. `available_at`: now, where it is None."""

    task_id: UUID
    route_id: UUID
    name: str
    data: str
    priority: int
    max_attempts: int | None
    timeout_seconds: float | None
    spill_after_seconds: float | None
    retry_on: str | None
    backoff: str | None
    tags: str | None
    unique_key: str | None
    concurrency_key: str | None
    traceparent: str | None
    expires_at: datetime | None
    delayed_until: datetime | None
    callback_url: str | None
    submitted_by: int | None
    available_at: datetime | None


def is_one_statement(tasks: Sequence[NewTask]) -> bool:
    """Whether `store` writes all in one: then nobody sees a part of it, without a transaction around it. Who
    submits a single task waits for that answer alone, where there were five."""
    return database.is_postgresql() and len(tasks) <= BATCH


def store(routes: Collection[NewRoute], tasks: Sequence[NewTask], by: ApiKey | None, now: datetime) -> None:
    """Write the tasks in the order given, which is that of their unique keys. In a transaction of the caller's,
    unless it `is_one_statement`."""
    new_routes = _ROUTES.rows(routes)
    submitted = database.adapt(now), by.pk if by else None
    if is_one_statement(tasks):
        statements.execute(_insert_all(), [new_routes, _TASKS.rows(tasks), *submitted])
        return
    naming.make_queues({route.name for route in routes})
    statements.execute(f"WITH {_ROUTES.table}, {_submitted()} {_insert_routes()}", [new_routes, *submitted])
    for part in database.parts(tasks, BATCH):
        given = [_TASKS.rows(part), *submitted]
        statements.execute(f"WITH {_TASKS.table}, {_submitted()} {_insert_tasks()}", given)


@cache
def _insert_all() -> str:
    """PostgreSQL runs what writes in the order in which one asks for what the other has returned: how many rows
    that are is always enough, but must be known first."""
    return f"""
        WITH {_ROUTES.table}, {_TASKS.table}, {_submitted()},
        named AS ({naming.insertion_from(_ROUTES.name)} RETURNING name),
        routed AS ({_insert_routes("(SELECT COUNT(*) FROM named) >= 0")} RETURNING id)
        {_insert_tasks("(SELECT COUNT(*) FROM routed) >= 0")}
        """


def _submitted() -> str:
    values = "%s::timestamptz, %s::bigint" if database.is_postgresql() else "%s, %s"
    return f"submitted(at, key) AS (SELECT {values})"


def _insert_routes(after: str = "true") -> str:
    json = "::jsonb" if database.is_postgresql() else ""
    return f"""
        INSERT INTO queueapp_route (id, name, attrs, created_at)
        SELECT route_id, name, attrs{json}, at FROM route CROSS JOIN submitted WHERE {after} ORDER BY route_id
        ON CONFLICT DO NOTHING
        """


def _insert_tasks(after: str = "true") -> str:
    json, in_order = ("::jsonb", "ORDER BY nth") if database.is_postgresql() else ("", "")
    return f"""
        INSERT INTO queueapp_task (
            id, name, route_id, data, priority, max_attempts, timeout_seconds, spill_after_seconds,
            retry_on, backoff, tags, unique_key, concurrency_key, held_back, traceparent, expires_at,
            delayed_until, callback_url, available_at, waiting_since, created_at, submitted_by_id,
            state, reason, error, attempt, attempts_used, progress_message
        )
        SELECT
            task_id, task.name, route_id, data, priority,
            COALESCE(task.max_attempts, queue.max_attempts, {DEFAULT_MAX_ATTEMPTS}),
            COALESCE(task.timeout_seconds, queue.timeout_seconds, {DEFAULT_TIMEOUT_SECONDS}),
            COALESCE(task.spill_after_seconds, queue.spill_after_seconds),
            retry_on{json}, backoff{json}, tags{json}, unique_key, concurrency_key, concurrency_key IS NOT NULL,
            COALESCE(traceparent, ''), expires_at, delayed_until, callback_url,
            COALESCE(available_at, at), COALESCE(delayed_until, at), at,
            COALESCE(submitted_by, key),
            'pending', '', '', 0, 0, ''
        FROM task CROSS JOIN submitted LEFT JOIN queueapp_queue AS queue ON queue.name = task.name
        WHERE {after} {in_order}
        """
