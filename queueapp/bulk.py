"""Before many tasks are changed at once: how many there are that match, and some of them.

Operators look at what a filter selects before they act on it. That is found in bounded time, however many tasks
there are: among the live ones, where only these can change and their partial indexes say that they are few; else
from the newest on, in portions, until enough are counted or the time is over. The operation leaves none out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from queueapp import deadlines, portions
from queueapp.domain.errors import FieldError, InvalidFilter
from queueapp.domain.states import CHANGEABLE, LIVE_STATES, Action
from queueapp.domain.submission import PRIORITIES
from queueapp.models import Task
from queueapp.operations import refuse_states_out_of_reach
from queueapp.portions import Portion, TimedWalk, Walk
from queueapp.querysets import TaskQuerySet
from queueapp.task_filters import selected

COUNTED = 10_000
FEW = 80_000
"""So many live tasks are looked through at once."""
SAMPLES = 10
FIRST_PORTION = 2_000
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
            with deadlines.within(portions.STATEMENT_SECONDS):
                found = _among_few(document)
        except deadlines.CutOff:
            found = None
        if found is not None:
            return found
    return _from_the_newest(tasks)


def _among_few(document: Mapping[str, Any]) -> Preview | None:
    """None where the live tasks are many."""
    live = Task.objects.all().parts_of_live()
    if not portions.are_few(live, FEW):
        return None
    parts = [selected(part, document) for part in live]
    count = sum(part.count() for part in parts)
    from_the_newest = Walk(None)
    ordered = [from_the_newest.ahead_of_few(part).values_list("id", flat=True) for part in parts]
    newest = [key for ids in ordered for key in ids[:SAMPLES]]
    samples = _shown(sorted(newest, reverse=True)[:SAMPLES])
    return Preview(min(count, COUNTED), samples, is_cut=count > COUNTED)


def _from_the_newest(tasks: TaskQuerySet) -> Preview:
    count = 0
    samples: list[UUID] = []

    def read(portion: Portion) -> tuple[int, list[UUID]]:
        matching = portion.of(tasks)
        found = matching.count()
        wanted = SAMPLES - len(samples) if found else 0
        return found, list(matching.values_list("id", flat=True)[:wanted])

    walk = TimedWalk(Walk(None), Task.objects.all(), FIRST_PORTION)
    for found, newest in walk.read(read):
        count += found
        samples += newest
        if count > COUNTED:
            return Preview(COUNTED, _shown(samples), is_cut=True)
    return Preview(count, _shown(samples), looked_at=None if walk.is_complete else walk.looked_at)


def usable_priority(text: str) -> int:
    """The priority that an operator typed, or InvalidFilter."""
    if not WHOLE_NUMBER.fullmatch(text) or int(text) not in PRIORITIES:
        message = f"must be a whole number from {PRIORITIES[0]} to {PRIORITIES[-1]}"
        raise InvalidFilter([FieldError("/priority", message)])
    return int(text)


def _shown(ids: list[UUID]) -> list[Task]:
    return list(Task.objects.filter(pk__in=ids).select_related("route").defer(*UNREAD).order_by("-id"))
