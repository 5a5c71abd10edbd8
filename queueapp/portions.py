"""Going over tasks in the order of their ids, in which they were made, in bounded time however many there are.

Few tasks are looked through at once, many in portions: of so many, or of fewer where reading these takes too long,
for a filter, as of a value inside the data, may be slow. Whoever reads with somebody waiting for it goes on for as
long as there is time (`TimedWalk`), and knows afterwards how far it has come.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from time import monotonic
from typing import TypeVar
from uuid import UUID

from django.db.models.functions import Greatest

from queueapp import deadlines
from queueapp.querysets import TaskQuerySet

SECONDS = 0.15
"""After which no further portion is begun while somebody waits."""
STATEMENT_SECONDS = 0.5
"""No statement that reads a portion takes longer."""
GROWTH = 4
SHRINKING = 10
SMALLEST = 20

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Portion:
    """The tasks ahead of a walk, up to its end and with it; all that are left where that is None."""

    walk: Walk
    end: UUID | None

    def of(self, tasks: TaskQuerySet) -> TaskQuerySet:
        """Those of the tasks that fall into it, in the order of the walk."""
        tasks = self.walk.ahead(tasks)
        return (
            tasks
            if self.end is None
            else tasks.filter(**{"id__lte" if self.walk.upwards else "id__gte": self.end})
        )


@dataclass(frozen=True, slots=True)
class Walk:
    """From a task, which is left out, to older or newer ones; from the very newest or oldest where it is None."""

    start: UUID | None
    upwards: bool = False

    def ahead(self, tasks: TaskQuerySet) -> TaskQuerySet:
        """Those of the tasks that lie ahead, in their order."""
        if self.start is not None:
            tasks = tasks.filter(**{"id__gt" if self.upwards else "id__lt": self.start})
        return tasks.order_by("id" if self.upwards else "-id")

    def ahead_of_few(self, tasks: TaskQuerySet) -> TaskQuerySet:
        """The same where the tasks are few. The id stands in an expression, so that they are found by what else is
        known of them, and not by going through all ids in search of them."""
        place = Greatest("id", "id")
        if self.start is not None:
            tasks = tasks.annotate(place=place).filter(
                **{"place__gt" if self.upwards else "place__lt": self.start}
            )
        return tasks.order_by(place.asc() if self.upwards else place.desc())

    def portion(self, tasks: TaskQuerySet, size: int) -> Portion:
        """Of the next so many of the tasks."""
        ids = self.ahead(tasks).values_list("id", flat=True)
        return Portion(self, next(iter(ids[size - 1 : size]), None))

    def beyond(self, task_id: UUID) -> Walk:
        return Walk(task_id, self.upwards)


@dataclass(slots=True)
class TimedWalk:
    """A walk over the tasks for as long as there is time.

    Afterwards `walk` begins where it has ended, `looked_at` tasks further on; `is_complete` if none are left.
    """

    walk: Walk
    tasks: TaskQuerySet
    first_size: int
    looked_at: int = field(default=0, init=False)
    is_complete: bool = field(default=False, init=False)

    def read(self, read_portion: Callable[[Portion], R]) -> Iterator[R]:
        """What is read of each portion."""
        until = monotonic() + SECONDS
        size = self.first_size
        while size:
            begun = monotonic()
            try:
                with deadlines.within(STATEMENT_SECONDS):
                    portion = self.walk.portion(self.tasks, size)
                    found = read_portion(portion)
            except deadlines.CutOff:
                size = smaller(size) if monotonic() <= until + STATEMENT_SECONDS else 0
                continue
            if portion.end is None:
                self.is_complete = True
                size = 0
            else:
                self.walk = self.walk.beyond(portion.end)
                self.looked_at += size
                size = self._next_size(size, begun, until)
            yield found

    def _next_size(self, size: int, begun: float, until: float) -> int:
        """As many as there is time for at the pace of these; 0 if that is not worth a portion."""
        now = monotonic()
        in_time = min(size * GROWTH, round(size * (until - now) / max(now - begun, 1e-6)))
        return in_time if in_time >= min(size, self.first_size) else 0


def smaller(size: int) -> int:
    """The size to try where a portion takes too long; 0 if there is no smaller one."""
    return max(size // SHRINKING, SMALLEST) if size > SMALLEST else 0


def are_few(parts: Iterable[TaskQuerySet], most: int) -> bool:
    """Whether all the parts together have no more tasks than that. They are counted no further."""
    left = most
    for part in parts:
        left -= part.order_by().values("pk")[: left + 1].count()
        if left < 0:
            return False
    return True
