"""What a key is used for now: who would be cut off if it were revoked. Read from indexes and bounded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import Count

from queueapp import database, statements
from queueapp.models import Task, WorkerSession
from queueapp.waiting import waited_for
from queueapp.watching import watching_by_key

TASKS_LOOKED_AT = 5_000
"""The latest, of all keys, in search of those that one has submitted: no index says whose a task is."""
TASKS_SHOWN = 20
SESSIONS_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Use:
    """`workers` are attached with the key and hold so many tasks; `producers` wait for a task or follow one with
    it, in this process."""

    workers: int = 0
    held: int = 0
    producers: int = 0


@dataclass(frozen=True, slots=True)
class Submitted:
    task_id: UUID
    name: str
    state: str
    created_at: datetime


def uses(key_ids: Collection[int]) -> dict[int, Use]:
    """Of each of the keys, in a few queries for all of them."""
    attached = WorkerSession.objects.attached().filter(api_key__in=key_ids)
    workers = dict(attached.order_by().values_list("api_key").annotate(Count("id")))
    tasks = Task.objects.filter(worker__isnull=False, worker__in=attached.values("id"))
    held = dict(tasks.order_by().values_list("worker__api_key").annotate(Count("id")))
    producers = _producers(key_ids)
    return {key: Use(workers.get(key, 0), held.get(key, 0), producers[key]) for key in key_ids}


def sessions_of(key_id: int) -> list[WorkerSession]:
    """The latest."""
    return list(WorkerSession.objects.filter(api_key=key_id).order_by("-id")[:SESSIONS_SHOWN])


def submitted_by(key_id: int) -> list[Submitted]:
    """The latest tasks that came with the key, of the latest of all."""
    rows = statements.execute(
        f"""
        SELECT id, name, state, created_at FROM (
            SELECT id, name, state, created_at, submitted_by_id FROM queueapp_task
            ORDER BY id DESC LIMIT {TASKS_LOOKED_AT}
        ) AS latest WHERE submitted_by_id = %s ORDER BY id DESC LIMIT {TASKS_SHOWN}
        """,
        [key_id],
    )
    return [
        Submitted(database.as_uuid(task_id), name, state, database.as_datetime(created_at))
        for task_id, name, state, created_at in rows
    ]


def _producers(key_ids: Collection[int]) -> Counter[int]:
    found = watching_by_key()
    waiting = waited_for()
    if waiting:
        own = Task.objects.filter(pk__in=list(waiting), submitted_by__in=key_ids)
        for task_id, key_id in own.values_list("pk", "submitted_by"):
            found[key_id] += waiting[task_id]
    return found
