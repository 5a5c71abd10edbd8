"""How tasks come to be: from a submission to pending, with the route and the queue they belong to."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from django.db import IntegrityError, transaction

from queueapp import counters, database, doorbell, statements
from queueapp.domain.payloads import canonical_text, json_text
from queueapp.domain.submission import Submission
from queueapp.lifecycle.keys import note_keys
from queueapp.models import ApiKey, Queue, Task, new_id
from queueapp.statements import Given

DEFAULT_TIMEOUT_SECONDS = 300.0
DEFAULT_MAX_ATTEMPTS = 4
BATCH = 5000
"""Rows a statement."""

_ROUTES = Given("route", route_id="uuid", name="text", attrs="text")
_NAMES = Given("named", name="text")
_KEYS = Given("wanted", name="text", key="text")
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
)


class _Row(NamedTuple):
    """Of `_TASKS`, in the order of its columns."""

    task_id: UUID
    route_id: UUID
    name: str
    data: str
    priority: int
    max_attempts: int
    timeout_seconds: float
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


class _Defaults(NamedTuple):
    """What a queue says of tasks that do not say so themselves."""

    name: str
    timeout_seconds: float | None
    max_attempts: int | None
    spill_after_seconds: float | None


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a submission came to: the task's id, and whether it is new or a live one with its unique key."""

    task_id: UUID
    created: bool


def submit(submissions: Sequence[Submission], by: ApiKey | None, now: datetime) -> list[Receipt]:
    """Store all of the submissions or none, in their order. A receipt for each, durable on return."""
    keyed = [(s.name, s.unique_key) for s in submissions if s.unique_key is not None]
    if not keyed:
        return _insert(submissions, {}, by, now)
    while True:
        try:
            return _insert(submissions, live_by_unique_key(keyed), by, now)
        except IntegrityError:
            # Somebody else took one of the keys since they were read: now it will be found. A task that
            # ended in between frees its key, so this ends.
            if transaction.get_connection().in_atomic_block:
                raise


def by_unique_key(task: Task | _Row) -> tuple[str, str]:
    """The order in which whoever makes several tasks live takes their unique keys."""
    return task.name, task.unique_key or ""


def route_id_of(name: str, attrs: dict[str, str]) -> UUID:
    """128 bits of SHA-256 over the pair: equal pairs meet on every process without asking the database."""
    digest = hashlib.sha256(f"{name}\0{canonical_text(attrs)}".encode()).digest()
    return UUID(bytes=digest[:16])


@database.retried
def _insert(
    submissions: Sequence[Submission],
    live: dict[tuple[str, str], UUID],
    by: ApiKey | None,
    now: datetime,
) -> list[Receipt]:
    routes: dict[UUID, Submission] = {}
    route_ids = _RouteIds()
    rows: list[_Row] = []
    receipts: list[Receipt] = []
    ready: set[UUID] = set()
    taken = dict(live)
    with transaction.atomic(savepoint=False):
        queues = _queues({submission.name for submission in submissions})
        for submission in submissions:
            task_id = new_id()
            if submission.unique_key is not None:
                key = (submission.name, submission.unique_key)
                if key in taken:
                    receipts.append(Receipt(taken[key], created=False))
                    continue
                taken[key] = task_id
            route_id = route_ids.of(submission)
            routes.setdefault(route_id, submission)
            row = _row(task_id, route_id, submission, queues[submission.name], now)
            if row.delayed_until is None:
                ready.add(route_id)
            rows.append(row)
            receipts.append(Receipt(task_id, created=True))
        ordered = [(route_id, routes[route_id]) for route_id in sorted(routes)]
        _insert_routes(ordered, now)
        made = database.adapt(now), by.pk if by else None
        # In the order of their unique keys: two submissions of the same keys would wait for each other without it.
        for part in database.parts(sorted(rows, key=by_unique_key), BATCH):
            statements.execute(_insert_tasks_statement(), [_TASKS.rows(part), *made])
        counters.count_after_commit(counters.submitted, [row.name for row in rows])
        note_keys((row.name, row.concurrency_key) for row in rows if row.concurrency_key is not None)
        doorbell.ring(routes=ready, scheduled=any(row.delayed_until for row in rows))
    return receipts


def _queues(names: set[str]) -> dict[str, _Defaults]:
    queues = _defaults(names)
    missing = names - queues.keys()
    if missing:
        Queue.objects.ensure(missing)
        queues.update(_defaults(missing))
    return queues


def _defaults(names: set[str]) -> dict[str, _Defaults]:
    """Of the queues that are there. Written out: through the ORM it was a sixth of the time of one submission."""
    rows = statements.execute(
        f"WITH {_NAMES.table} SELECT {', '.join(_Defaults._fields)} FROM queueapp_queue AS queue "
        "WHERE queue.name IN (SELECT named.name FROM named)",
        [_NAMES.rows((name,) for name in names)],
    )
    return {row[0]: _Defaults(*row) for row in rows}


def _insert_routes(routes: Sequence[tuple[UUID, Submission]], now: datetime) -> None:
    """In the order of their ids, as everybody inserts them: two who met crosswise would wait for each other."""
    for part in database.parts(routes, BATCH):
        rows = [(route_id, s.name, canonical_text(s.attrs)) for route_id, s in part]
        statements.execute(_insert_routes_statement(), [_ROUTES.rows(rows), database.adapt(now)])


def _insert_routes_statement() -> str:
    json = "::jsonb" if database.is_postgresql() else ""
    return f"""
        WITH {_ROUTES.table}
        INSERT INTO queueapp_route (id, name, attrs, created_at)
        SELECT route_id, name, attrs{json}, %s FROM route WHERE true ORDER BY route_id
        ON CONFLICT DO NOTHING
        """


def _insert_tasks_statement() -> str:
    json, at, key = ("::jsonb", "%s::timestamptz", "%s::bigint") if database.is_postgresql() else ("", "%s", "%s")
    return f"""
        WITH {_TASKS.table}, submitted(at, key) AS (SELECT {at}, {key})
        INSERT INTO queueapp_task (
            id, name, route_id, data, priority, max_attempts, timeout_seconds, spill_after_seconds,
            retry_on, backoff, tags, unique_key, concurrency_key, held_back, traceparent, expires_at,
            delayed_until, callback_url, available_at, waiting_since, created_at, submitted_by_id,
            state, reason, error, attempt, attempts_used, progress_message
        )
        SELECT
            task_id, name, route_id, data, priority, max_attempts, timeout_seconds, spill_after_seconds,
            retry_on{json}, backoff{json}, tags{json}, unique_key, concurrency_key, concurrency_key IS NOT NULL,
            COALESCE(traceparent, ''), expires_at, delayed_until, callback_url,
            COALESCE(delayed_until, at), COALESCE(delayed_until, at), at, key,
            'pending', '', '', 0, 0, ''
        FROM task CROSS JOIN submitted
        """


def _row(task_id: UUID, route_id: UUID, s: Submission, queue: _Defaults, now: datetime) -> _Row:
    spill_after_seconds = queue.spill_after_seconds if s.spill_after_seconds is None else s.spill_after_seconds
    return _Row(
        task_id,
        route_id,
        s.name,
        s.data,
        s.priority,
        s.max_attempts or queue.max_attempts or DEFAULT_MAX_ATTEMPTS,
        s.timeout_seconds or queue.timeout_seconds or DEFAULT_TIMEOUT_SECONDS,
        spill_after_seconds,
        None if s.retry_on is None else json_text(s.retry_on),
        None if s.backoff is None else json_text(s.backoff),
        None if s.tags is None else json_text(s.tags),
        s.unique_key,
        s.concurrency_key,
        s.traceparent or None,
        s.expires_at,
        s.available_at if s.available_at is not None and s.available_at > now else None,
        s.callback_url,
    )


class _RouteIds:
    """Of one batch, in which most tasks have attributes that an earlier one had."""

    def __init__(self) -> None:
        self._known: dict[tuple[Any, ...], UUID] = {}

    def of(self, submission: Submission) -> UUID:
        pair = (submission.name, *submission.attrs.items())
        route_id = self._known.get(pair)
        if route_id is None:
            route_id = self._known[pair] = route_id_of(submission.name, submission.attrs)
        return route_id


def live_by_unique_key(keyed: Sequence[tuple[str, str]]) -> dict[tuple[str, str], UUID]:
    """The live tasks that have these names and keys."""
    rows = statements.execute(
        f"""
        WITH {_KEYS.table} SELECT task.name, task.unique_key, task.id FROM wanted JOIN queueapp_task AS task
        ON task.name = wanted.name AND task.unique_key = wanted.key AND task.unique_key IS NOT NULL
        AND task.state IN ('pending', 'assigned')
        """,
        [_KEYS.rows(set(keyed))],
    )
    return {(name, key): database.as_uuid(task_id) for name, key, task_id in rows}
