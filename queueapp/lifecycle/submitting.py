"""How tasks come to be: from a submission to pending, with the route and the queue they belong to."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db import IntegrityError, transaction

from queueapp import database, doorbell
from queueapp.domain.payloads import canonical_text
from queueapp.domain.submission import Submission
from queueapp.models import ApiKey, Queue, Route, Task, new_id

DEFAULT_TIMEOUT_SECONDS = 300.0
DEFAULT_MAX_ATTEMPTS = 4
BATCH = 500


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
            return _insert(submissions, _live_by_unique_key(keyed), by, now)
        except IntegrityError:
            # Somebody else took one of the keys since they were read: now it will be found. A task that
            # ended in between frees its key, so this ends.
            if transaction.get_connection().in_atomic_block:
                raise


def by_unique_key(task: Task) -> tuple[str, str]:
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
    routes: dict[UUID, Route] = {}
    tasks: list[Task] = []
    receipts: list[Receipt] = []
    taken = dict(live)
    with transaction.atomic(savepoint=False):
        queues = _queues({submission.name for submission in submissions})
        for submission in submissions:
            key = (submission.name, submission.unique_key or "")
            if submission.unique_key is not None and key in taken:
                receipts.append(Receipt(taken[key], created=False))
                continue
            route_id = route_id_of(submission.name, submission.attrs)
            if route_id not in routes:
                routes[route_id] = Route(id=route_id, name=submission.name, attrs=submission.attrs, created_at=now)
            task = _task(submission, route_id, queues[submission.name], by, now)
            if submission.unique_key is not None:
                taken[key] = task.id
            tasks.append(task)
            receipts.append(Receipt(task.id, created=True))
        ordered = [routes[route_id] for route_id in sorted(routes)]
        Route.objects.bulk_create(ordered, ignore_conflicts=True, batch_size=BATCH)
        # In the order of their unique keys: two submissions of the same keys would wait for each other without it.
        Task.objects.bulk_create(sorted(tasks, key=by_unique_key), batch_size=BATCH)
        ready = {task.route_id for task in tasks if task.delayed_until is None}
        doorbell.ring(routes=ready, scheduled=any(task.delayed_until for task in tasks))
    return receipts


def _queues(names: set[str]) -> dict[str, Queue]:
    queues = Queue.objects.in_bulk(names)
    missing = names - queues.keys()
    if missing:
        Queue.objects.ensure(missing)
        queues.update(Queue.objects.in_bulk(missing))
    return queues


def _task(s: Submission, route_id: UUID, queue: Queue, by: ApiKey | None, now: datetime) -> Task:
    available_at = max(now, s.available_at) if s.available_at else now
    return Task(
        id=new_id(),
        name=s.name,
        route_id=route_id,
        data=s.data,
        priority=s.priority,
        max_attempts=s.max_attempts or queue.max_attempts or DEFAULT_MAX_ATTEMPTS,
        timeout_seconds=s.timeout_seconds or queue.timeout_seconds or DEFAULT_TIMEOUT_SECONDS,
        spill_after_seconds=(
            queue.spill_after_seconds if s.spill_after_seconds is None else s.spill_after_seconds
        ),
        retry_on=s.retry_on,
        backoff=s.backoff,
        created_at=now,
        available_at=available_at,
        waiting_since=available_at,
        delayed_until=available_at if available_at > now else None,
        expires_at=s.expires_at,
        unique_key=s.unique_key,
        tags=s.tags,
        traceparent=s.traceparent,
        submitted_by=by,
    )


def _live_by_unique_key(keyed: Sequence[tuple[str, str]]) -> dict[tuple[str, str], UUID]:
    wanted = set(keyed)
    names = {name for name, _ in wanted}
    keys = {key for _, key in wanted}
    rows = Task.objects.live().filter(name__in=names, unique_key__isnull=False, unique_key__in=keys)
    live: dict[tuple[str, str], UUID] = {}
    for name, key, task_id in rows.values_list("name", "unique_key", "id"):
        if key is not None:
            live[name, key] = task_id
    return live
