"""Before many tasks are changed at once: how many there are that match, and some of them.

Operators look at what a filter selects before they act on it. That is found in bounded time, however many tasks
there are: among the live ones, where only these can change and their partial indexes say that they are few; else
from the newest on, in portions, until enough are counted or the time is over. The operation leaves none out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any
from uuid import UUID

from django.db.models.functions import Greatest

from queueapp import deadlines
from queueapp.domain.errors import FieldError, InvalidFilter
from queueapp.domain.states import CHANGEABLE, LIVE_STATES, Action
from queueapp.domain.submission import PRIORITIES
from queueapp.models import Task
from queueapp.operations import refuse_states_out_of_reach
from queueapp.querysets import TaskQuerySet
from queueapp.task_filters import selected

COUNTED = 10_000
FEW = 20_000
"""So many, of each part of the live tasks, are looked through at once."""
SAMPLES = 10
FIRST_PORTION = 2_000
SMALLEST_PORTION = 20
GROWTH = 4
SHRINKING = 10
SECONDS = 0.15
"""After which no further portion is looked at; one portion is not to take longer than a small part of it."""
STATEMENT_SECONDS = 0.5
"""No statement takes longer: what a filter asks for, as a value inside the data, may be slow for a few tasks."""
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
    if CHANGEABLE[action] == LIVE_STATES:
        try:
            with deadlines.within(STATEMENT_SECONDS):
                found = _among_few(document)
        except deadlines.CutOff:
            found = None
        if found is not None:
            return found
    return _from_the_newest(tasks)


def live_parts() -> list[TaskQuerySet]:
    """All live tasks, in parts for each of which there is a partial index."""
    pending = Task.objects.pending()
    return [
        Task.objects.ready(),
        pending.filter(delayed_until__isnull=False),
        pending.filter(delayed_until__isnull=True, held_back=True, concurrency_key__isnull=False),
        Task.objects.assigned(),
    ]


def _are_few(part: TaskQuerySet) -> bool:
    return part.values("pk")[: FEW + 1].count() <= FEW


def _among_few(document: Mapping[str, Any]) -> Preview | None:
    """None where the live tasks are many."""
    if not all(_are_few(part) for part in live_parts()):
        return None
    parts = [selected(part, document) for part in live_parts()]
    count = sum(part.count() for part in parts)
    # By an expression: in the order of the id itself the planner would go through all tasks to find the few.
    newest_first = Greatest("id", "id").desc()
    newest = [key for part in parts for key in part.order_by(newest_first).values_list("id", flat=True)[:SAMPLES]]
    samples = _shown(sorted(newest, reverse=True)[:SAMPLES])
    return Preview(min(count, COUNTED), samples, is_cut=count > COUNTED)


def _from_the_newest(tasks: TaskQuerySet) -> Preview:
    count, looked_at, size, before = 0, 0, FIRST_PORTION, None
    samples: list[UUID] = []
    until = monotonic() + SECONDS
    while True:
        begun = monotonic()
        try:
            with deadlines.within(STATEMENT_SECONDS):
                end = _end_of_portion(before, size)
                portion = _between(tasks, before, end)
                found = portion.count()
                if found and len(samples) < SAMPLES:
                    newest = portion.order_by("-id").values_list("id", flat=True)
                    samples += newest[: SAMPLES - len(samples)]
        except deadlines.CutOff:
            size //= SHRINKING
            if size < SMALLEST_PORTION or monotonic() > until + STATEMENT_SECONDS:
                return Preview(count, _shown(samples), looked_at=looked_at)
            continue
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
