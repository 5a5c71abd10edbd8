"""What the rows read as (contract, end of section 5). Pure: rows in, JSON-ready values out.

Times are RFC 3339 in UTC, durations seconds; what there is none of is null.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from datetime import datetime
from typing import Any, overload
from uuid import UUID

import msgspec

from queueapp.api.figures import RATE_WINDOW, Figures
from queueapp.domain.ids import id_text
from queueapp.domain.states import Outcome, TaskState
from queueapp.domain.times import as_rfc3339, in_json
from queueapp.models import Attempt, Operation, Queue, Subscription, Task, WorkerSession

Document = dict[str, Any]


@overload
def rfc3339(time: datetime) -> str: ...
@overload
def rfc3339(time: datetime | None) -> str | None: ...
def rfc3339(time: datetime | None) -> str | None:
    """Always with microseconds, so that the texts sort as the times do."""
    return None if time is None else as_rfc3339(time, "microseconds")


def task_json(task: Task) -> bytes:
    """The document as JSON, with the payloads as they were given: nobody reads them here, and to read and write
    them takes longer than all the rest."""
    return msgspec.json.encode(task_document(task, lambda text: msgspec.Raw(text.encode())))


def task_document(task: Task, payload: Callable[[str], Any] = json.loads) -> Document:
    """A task with its route. `worker` is the session that holds it or, once it has ended, that held it last.

    `payload`: what becomes of the JSON texts of data and result."""
    return {
        "id": str(task.id),
        "name": task.name,
        "attrs": task.route.attrs,
        "data": payload(task.data),
        "state": task.state,
        "reason": task.reason or None,
        "result": None if task.result is None else payload(task.result),
        "error": task.error or None,
        "priority": task.priority,
        "attempt": task.attempt,
        "max_attempts": task.max_attempts,
        "worker": _id(task.last_worker_id if task.finished_at else task.worker_id),
        "progress": task.progress,
        "progress_message": task.progress_message or None,
        "timeout": _seconds(task.timeout_seconds),
        "spill_after": _seconds(task.spill_after_seconds),
        "created_at": rfc3339(task.created_at),
        "available_at": rfc3339(task.available_at),
        "assigned_at": rfc3339(task.assigned_at),
        "deadline": rfc3339(task.deadline),
        "finished_at": rfc3339(task.finished_at),
        "expires_at": rfc3339(task.expires_at),
        "unique_key": task.unique_key,
        "concurrency_key": task.concurrency_key,
        "tags": task.tags or [],
        "traceparent": task.traceparent or None,
        "callback_url": task.callback_url,
    }


def receipts_document(task_ids: Collection[UUID]) -> Document:
    """Of tasks that were submitted."""
    return {"count": len(task_ids), "ids": [id_text(task_id) for task_id in task_ids]}


def receipts_json(task_ids: Collection[UUID]) -> bytes:
    return msgspec.json.encode(receipts_document(task_ids))


def outstanding_document(task: Task) -> Document:
    """An assigned task in the shape of `/work/list`."""
    return {
        "task": {
            "task_id": str(task.id),
            "task_name": task.name,
            "data": json.loads(task.data),
            "attrs": task.route.attrs,
        },
        "worker": _id(task.worker_id),
        "retry_counter": task.attempt - 1,
        "deadline": rfc3339(task.deadline),
    }


def attempt_document(attempt: Attempt) -> Document:
    return {
        "number": attempt.number,
        "worker": _id(attempt.worker_id),
        "outcome": attempt.outcome,
        "assigned_at": rfc3339(attempt.assigned_at),
        "ended_at": rfc3339(attempt.ended_at),
        "error": attempt.error or None,
    }


def latest_attempt_document(task: Task, stored: Collection[int]) -> Document | None:
    """The attempt that only the task's own row tells of: the running one, or a plain first `done`.

    `stored` are the numbers of the attempts that have rows.
    """
    if task.attempt in stored or task.state not in (TaskState.ASSIGNED, TaskState.SUCCEEDED):
        return None
    running = task.state == TaskState.ASSIGNED
    return {
        "number": task.attempt,
        "worker": _id(task.last_worker_id),
        "outcome": None if running else str(Outcome.DONE),
        "assigned_at": rfc3339(task.assigned_at),
        "ended_at": rfc3339(task.finished_at),
        "error": None,
    }


def worker_document(
    session: WorkerSession, subscriptions: Collection[Subscription], outstanding: int, with_extra: bool
) -> Document:
    """A session with those of its subscriptions that the reader may see.

    `with_extra`: the members that the worker added to its registration are for operators.
    """
    return {
        "id": str(session.id),
        "name": session.name,
        "state": session.state,
        "subscriptions": [
            {**(each.extra if with_extra else {}), "name": each.name, "filter": each.filter}
            for each in subscriptions
        ],
        "outstanding": outstanding,
        "max_outstanding": session.max_outstanding,
        "connected_at": rfc3339(session.connected_at),
        "gone_at": rfc3339(session.gone_at),
        "node": str(session.node),
        "version": session.version,
    }


def queue_document(queue: Queue, figures: Figures, now: datetime) -> Document:
    """A queue with its figures; `rates` are tasks a second over the last minute, `workers` the online ones. What
    is counted as assigned is what runs against `concurrency`."""
    oldest = figures.oldest_pending_at
    window_seconds = RATE_WINDOW.total_seconds()
    return {
        "name": queue.name,
        "paused": queue.paused,
        "paused_by": queue.paused_by or None,
        "paused_at": rfc3339(queue.paused_at),
        "note": queue.note,
        "counts": {str(state): figures.counts.get(str(state), 0) for state in TaskState},
        "oldest_pending_seconds": None if oldest is None else max(0.0, (now - oldest).total_seconds()),
        "rates": {
            "submitted": figures.submitted / window_seconds,
            "finished": figures.finished / window_seconds,
        },
        "workers": figures.workers,
        "timeout": _seconds(queue.timeout_seconds),
        "max_attempts": queue.max_attempts,
        "spill_after": _seconds(queue.spill_after_seconds),
        "concurrency": queue.concurrency,
        "concurrency_per_key": queue.concurrency_per_key,
    }


def operation_document(operation: Operation) -> Document:
    """An operation with its progress: of `total` tasks `done` have been dealt with, `unchanged` of these in vain.
    `total` is null until they have been counted."""
    return {
        "id": str(operation.id),
        "action": operation.action,
        "state": operation.state,
        "filter": operation.filter,
        "total": None if operation.counted_at is None else operation.total,
        "done": operation.done,
        "unchanged": operation.unchanged,
        "asked_by": operation.asked_by,
        "created_at": rfc3339(operation.created_at),
        "finished_at": rfc3339(operation.finished_at),
    }


def _seconds(value: float | None) -> float | int | None:
    return None if value is None else in_json(value)


def _id(value: UUID | None) -> str | None:
    return None if value is None else str(value)
