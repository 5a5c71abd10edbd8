"""Why a task is where it is, read from the rows; what a pass would do with it, the dispatcher itself foresees."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from queueapp import database, statements
from queueapp.domain.explanation import Explanation, explain
from queueapp.domain.matching import Subscription
from queueapp.domain.reasons import Facts, Foreseen, Limit, Pause
from queueapp.domain.spelling import NAMES_COMPARED
from queueapp.domain.states import SessionState, TaskState
from queueapp.domain.verdicts import Worker
from queueapp.foresight import Foresight, limits_of
from queueapp.lifecycle.submitting import route_id_of
from queueapp.models import Queue, Task, WorkerSession
from queueapp.ready import ReadyTask
from queueapp.statements import NAMED

LAST_ID = UUID(int=2**128 - 1)
"""Sorts after every task's: what is not submitted yet comes last."""

Names = Collection[str] | None
"""Of the tasks that the reader may touch; None: all. Workers that offer none of them are not spoken of."""


def explain_task(task: Task, names: Names, now: datetime) -> Explanation:
    """Of a task with its route."""
    ready = ReadyTask(
        task.id,
        task.route_id,
        task.priority,
        task.available_at,
        task.waiting_since,
        task.timeout_seconds,
        task.spill_after_seconds,
        task.avoid,
        task.concurrency_key,
    )
    queue = _queue(task.name)
    limits = limits_of(queue, ready, task.name, task.held_back) if task.state == TaskState.PENDING else []
    return _explain(_facts(task), ready, queue, limits, names, now)


def explain_route(name: str, attrs: dict[str, str], names: Names, now: datetime) -> Explanation:
    """Of a task with these attributes that would be submitted now, with nothing but its queue's defaults."""
    queue = _queue(name)
    spill_after_seconds = queue.spill_after_seconds if queue else None
    route_id = route_id_of(name, attrs)
    ready = ReadyTask(LAST_ID, route_id, 0, now, now, 0.0, spill_after_seconds, None, None)
    facts = Facts(name, attrs, now, now, exists=False, spill_after_seconds=spill_after_seconds)
    return _explain(facts, ready, queue, limits_of(queue, ready, name, False), names, now)


def _explain(
    facts: Facts, ready: ReadyTask, queue: Queue | None, limits: list[Limit], names: Names, now: datetime
) -> Explanation:
    workers = _workers(facts.name, names)
    pause = Pause(queue.paused_by, queue.note, queue.paused_at) if queue and queue.paused else None
    foreseen: Foreseen | None = None
    if facts.is_ready and pause is None:
        foreseen = Foresight().of(ready, facts.name, dict(facts.attrs), limits, now)
    is_offered = any(worker.offers for worker in workers)
    offered = () if is_offered else _offered_names([worker.id for worker in workers], names)
    return explain(facts, pause, limits, workers, foreseen, offered, now)


def _facts(task: Task) -> Facts:
    worker = task.last_worker_id if task.finished_at else task.worker_id
    last = task.attempts.filter(number=task.attempt).values_list("ended_at", flat=True).first()
    return Facts(
        name=task.name,
        attrs=task.route.attrs,
        created_at=task.created_at,
        waiting_since=task.waiting_since,
        state=TaskState(task.state),
        reason=task.reason,
        error=task.error,
        attempt=task.attempt,
        delayed_until=task.delayed_until,
        assigned_at=task.assigned_at,
        deadline=task.deadline,
        finished_at=task.finished_at,
        ended_at=last,
        spill_after_seconds=task.spill_after_seconds,
        avoid={UUID(session_id) for session_id in task.avoid or ()},
        worker=worker,
        worker_label=_label(worker),
    )


def _label(worker: UUID | None) -> str:
    """What to call a worker, which may have been pruned since."""
    if worker is None:
        return ""
    return WorkerSession.objects.filter(pk=worker).values_list("name", flat=True).first() or str(worker)


def _queue(name: str) -> Queue | None:
    return Queue.objects.filter(pk=name).first()


def _workers(name: str, names: Names) -> list[Worker]:
    """Those that are attached, with what they offer of the name."""
    attached = WorkerSession.objects.attached()
    if names is not None:
        attached = attached.filter(subscriptions__name__in=names).distinct()
    rows = list(attached.values_list("id", "name", "state", "max_outstanding"))
    offers: dict[UUID, set[Subscription]] = {row[0]: set() for row in rows}
    subscriptions = statements.rows_of(
        offers,
        f"SELECT session_id, filter FROM queueapp_subscription WHERE session_id IN ({NAMED}) AND name = %s",
        [name],
    )
    for session_id, filter in subscriptions:
        offers[database.as_uuid(session_id)].add(Subscription.of(name, database.as_json(filter)))
    outstanding = Task.objects.outstanding_by_session()
    return [
        Worker(
            id,
            label,
            state == SessionState.DRAINING,
            outstanding.get(id, 0),
            max_outstanding,
            frozenset(offers[id]),
        )
        for id, label, state, max_outstanding in rows
    ]


def _offered_names(session_ids: Collection[UUID], names: Names) -> set[str]:
    rows = statements.rows_of(
        session_ids,
        f"SELECT DISTINCT name FROM queueapp_subscription WHERE session_id IN ({NAMED}) LIMIT %s",
        [NAMES_COMPARED],
    )
    return {name for (name,) in rows if names is None or name in names}
