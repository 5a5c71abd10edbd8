"""How tasks come to be: from a submission to pending, with the route and the queue they belong to."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction

from queueapp import counters, database, doorbell, statements
from queueapp.domain.payloads import canonical_text, json_text
from queueapp.domain.submission import Submission
from queueapp.lifecycle.keys import note_keys
from queueapp.lifecycle.storing import NewRoute, NewTask, is_one_statement, store
from queueapp.models import ApiKey, Task, new_id
from queueapp.statements import Given

_KEYS = Given("wanted", name="text", key="text")


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a submission came to: the task's id, and whether it is new or a live one with its unique key."""

    task_id: UUID
    created: bool


By = ApiKey | Sequence[ApiKey] | None
"""Whose submissions they are: all of one key, each of its own, or of none."""


def submit(submissions: Sequence[Submission], by: By, now: datetime) -> list[Receipt]:
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


def by_unique_key(task: Task | NewTask) -> tuple[str, str]:
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
    by: By,
    now: datetime,
) -> list[Receipt]:
    routes: dict[UUID, NewRoute] = {}
    route_ids = _RouteIds()
    tasks: list[NewTask] = []
    receipts: list[Receipt] = []
    ready: set[UUID] = set()
    taken = dict(live)
    of_all, owners = _owners(by, len(submissions))
    for submission, owner in zip(submissions, owners, strict=True):
        task_id = new_id()
        if submission.unique_key is not None:
            key = (submission.name, submission.unique_key)
            if key in taken:
                receipts.append(Receipt(taken[key], created=False))
                continue
            taken[key] = task_id
        route_id = route_ids.of(submission)
        if route_id not in routes:
            routes[route_id] = NewRoute(route_id, submission.name, canonical_text(submission.attrs))
        task = _new_task(task_id, route_id, submission, now, owner)
        if task.delayed_until is None:
            ready.add(route_id)
        tasks.append(task)
        receipts.append(Receipt(task_id, created=True))
    keys = [(task.name, task.concurrency_key) for task in tasks if task.concurrency_key is not None]
    with database.transaction_unless(is_one_statement(tasks) and not keys):
        # In the order of their unique keys: two submissions of the same keys would wait for each other without it.
        store(routes.values(), sorted(tasks, key=by_unique_key), of_all, now)
        note_keys(keys)
        counters.count_after_commit(counters.submitted, [task.name for task in tasks])
        doorbell.ring(routes=ready, scheduled=any(task.delayed_until for task in tasks))
    return receipts


def _owners(by: By, number: int) -> tuple[ApiKey | None, list[int | None]]:
    """The key of all, or of each."""
    if by is None or isinstance(by, ApiKey):
        return by, [None] * number
    return None, [key.pk for key in by]


def _new_task(task_id: UUID, route_id: UUID, s: Submission, now: datetime, owner: int | None) -> NewTask:
    return NewTask(
        task_id,
        route_id,
        s.name,
        s.data,
        s.priority,
        s.max_attempts,
        s.timeout_seconds,
        s.spill_after_seconds,
        None if s.retry_on is None else json_text(s.retry_on),
        None if s.backoff is None else json_text(s.backoff),
        None if s.tags is None else json_text(s.tags),
        s.unique_key,
        s.concurrency_key,
        s.traceparent or None,
        s.expires_at,
        s.available_at if s.available_at is not None and s.available_at > now else None,
        s.callback_url,
        owner,
        s.available_at,
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
