"""Tasks that another process has assigned to the workers of this one: read from the rows, before they are sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from uuid import UUID

from queueapp.dispatch import Assignment
from queueapp.domain.payloads import json_text
from queueapp.lifecycle import Assigned
from queueapp.models import Task
from queueapp.querysets import TaskQuerySet

Held = Mapping[UUID, Mapping[UUID, int]]
"""What the workers of this process have been sent: session → task → attempt."""


def announced(task_ids: Iterable[UUID], held: Held) -> list[Assignment]:
    """Of the tasks that another process says it has assigned here, those that the rows confirm."""
    return _unsent(Task.objects.filter(pk__in=list(task_ids)), held)


def missed(held: Held) -> list[Assignment]:
    """What was assigned to these sessions and never announced. Task by task: the number of a session's tasks is
    also as it was when one was taken from it, unheard, and it was given another."""
    rows = Task.objects.held_by(held).assigned().values_list("worker_id", "id", "attempt")
    unsent = [
        task_id for worker_id, task_id, attempt in rows if worker_id and held[worker_id].get(task_id) != attempt
    ]
    return announced(unsent, held) if unsent else []


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
