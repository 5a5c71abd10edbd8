"""Before many tasks are changed at once: how many there are that match, and some of them.

Operators look at what a filter selects before they act on it. That is found in bounded time, however many tasks
there are: from the newest on, in portions, until enough are counted or the time is over. The operation itself
leaves none out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any
from uuid import UUID

from queueapp.domain.errors import FieldError, InvalidFilter
from queueapp.domain.states import CHANGEABLE, Action
from queueapp.domain.submission import PRIORITIES
from queueapp.models import Task
from queueapp.operations import refuse_states_out_of_reach
from queueapp.querysets import TaskQuerySet
from queueapp.task_filters import selected

COUNTED = 10_000
SAMPLES = 10
FIRST_PORTION = 2_000
GROWTH = 4
SECONDS = 0.15
"""After which no further portion is looked at; one portion is not to take longer than a small part of it."""
UNREAD = ("data", "result")
WHOLE_NUMBER = re.compile("-?[0-9]{1,3}")


@dataclass(frozen=True, slots=True)
class Preview:
    """`count` tasks would be changed, or more than that: `is_cut` when there are more than are ever counted, and
    `looked_at` says after how many tasks, the newest, the time was over."""

    count: int
    samples: list[Task]
    is_cut: bool = False
    looked_at: int | None = None


def preview(action: Action, document: Mapping[str, Any]) -> Preview:
    """What the action would change now. InvalidFilter says what of the filter cannot be used."""
    reachable = Task.objects.filter(state__in=[str(state) for state in CHANGEABLE[action]])
    tasks = selected(reachable, document)
    refuse_states_out_of_reach(action, document)
    count, looked_at, size, before = 0, 0, FIRST_PORTION, None
    samples: list[UUID] = []
    until = monotonic() + SECONDS
    while True:
        begun = monotonic()
        end = _end_of_portion(before, size)
        portion = _between(tasks, before, end)
        found = portion.count()
        if found and len(samples) < SAMPLES:
            newest = portion.order_by("-id").values_list("id", flat=True)
            samples += newest[: SAMPLES - len(samples)]
        count, looked_at, before = count + found, looked_at + size, end
        if count > COUNTED:
            return Preview(COUNTED, _shown(samples), is_cut=True)
        if end is None:
            return Preview(count, _shown(samples))
        if monotonic() >= until:
            return Preview(count, _shown(samples), looked_at=looked_at)
        if monotonic() - begun < SECONDS / GROWTH**2:
            size *= GROWTH


def usable_priority(text: str) -> int:
    """The priority that an operator typed, or InvalidFilter."""
    if not WHOLE_NUMBER.fullmatch(text) or int(text) not in PRIORITIES:
        message = f"must be a whole number from {PRIORITIES[0]} to {PRIORITIES[-1]}"
        raise InvalidFilter([FieldError("/priority", message)])
    return int(text)


def _end_of_portion(before: UUID | None, size: int) -> UUID | None:
    """The oldest of the next so many tasks; None if fewer are left."""
    ids = _between(Task.objects.all(), before, None).order_by("-id").values_list("id", flat=True)
    return next(iter(ids[size - 1 : size]), None)


def _between(tasks: TaskQuerySet, before: UUID | None, end: UUID | None) -> TaskQuerySet:
    if before is not None:
        tasks = tasks.filter(id__lt=before)
    return tasks if end is None else tasks.filter(id__gte=end)


def _shown(ids: list[UUID]) -> list[Task]:
    return list(Task.objects.filter(pk__in=ids).select_related("route").defer(*UNREAD).order_by("-id"))
