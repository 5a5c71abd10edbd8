"""What other processes have done to the workers of this one, read from the rows: tasks assigned to them before
they are sent, and, behind the doorbells, whatever was not heard of.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

from queueapp import database
from queueapp.dispatch import Assignment
from queueapp.domain.payloads import json_text
from queueapp.domain.states import Outcome
from queueapp.doorbell import Revoked
from queueapp.lifecycle import Assigned
from queueapp.models import Attempt, Task, WorkerSession
from queueapp.protocol import CloseCode
from queueapp.querysets import TaskQuerySet

Held = Mapping[UUID, Mapping[UUID, int]]
"""What the workers of this process have been sent: session → task → attempt."""


def announced(task_ids: Iterable[UUID], held: Held) -> list[Assignment]:
    """Of the tasks that another process says it has assigned here, those that the rows confirm."""
    return _unsent(Task.objects.filter(pk__in=list(task_ids)), held)


def missed(held: Held) -> tuple[list[Assignment], list[Revoked]]:
    """What was assigned to these sessions and not sent, and what was sent and is not theirs any more, without
    either having been announced. Sessions that hold just what was sent are not looked at."""
    differing = {session_id: held[session_id] for session_id in _differing(held)}
    if not differing:
        return [], []
    tasks = Task.objects.held_by(differing)
    confirmed = set(tasks.values_list("worker_id", "id", "attempt"))
    over = [
        (session_id, task_id, attempt)
        for session_id, sent in differing.items()
        for task_id, attempt in sent.items()
        if (session_id, task_id, attempt) not in confirmed
    ]
    return _unsent(tasks, differing), _revoked(over)


def ended(node_id: UUID, session_ids: Iterable[UUID]) -> list[tuple[UUID, int, str]]:
    """Those of the node's sessions that others have ended, with the close code and reason."""
    attached = WorkerSession.objects.attached().filter(node=node_id).values_list("id", flat=True)
    gone = WorkerSession.objects.filter(pk__in=set(session_ids) - set(attached), gone_at__isnull=False)
    return [(row.id, row.close_code or CloseCode.GOING_AWAY, row.close_reason) for row in gone]


def _differing(held: Held) -> list[UUID]:
    """Numbers of tasks do not tell: one that is over and not heard of hides one that is new and not heard of.
    SQLite, which is for one process, does not add up ids; there all are looked at."""
    if not database.is_postgresql():
        return list(held)
    sums = Task.objects.held_by(held).sums_by_session()
    return [
        session_id
        for session_id, sent in held.items()
        if sums.get(session_id, 0) != sum(database.id_number(task_id) + n for task_id, n in sent.items())
    ]


def _revoked(over: Sequence[tuple[UUID, UUID, int]]) -> list[Revoked]:
    rows = Attempt.objects.filter(task__in=[task_id for _, task_id, _ in over])
    outcomes = {
        (task_id, number): outcome for task_id, number, outcome in rows.values_list("task", "number", "outcome")
    }
    return [
        Revoked(session_id, task_id, attempt, outcomes.get((task_id, attempt), str(Outcome.DONE)))
        for session_id, task_id, attempt in over
    ]


def _unsent(tasks: TaskQuerySet, held: Held) -> list[Assignment]:
    rows = tasks.held_by(held).assigned().select_related("route")
    return [
        _assignment(task)
        for task in rows
        if task.worker_id is not None and held[task.worker_id].get(task.id) != task.attempt
    ]


def _assignment(task: Task) -> Assignment:
    assert task.worker_id is not None
    assert task.deadline is not None
    return Assignment(
        Assigned(
            task.id,
            task.worker_id,
            task.route_id,
            task.name,
            task.data,
            task.attempt,
            task.timeout_seconds,
            task.deadline,
            task.priority,
            task.traceparent,
        ),
        json_text(task.route.attrs),
    )
