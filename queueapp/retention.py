"""What is over is kept for a time, and then deleted: a little with each tick, so that nobody waits for it.

Each table is walked through in the order of its keys, which is that in which its rows were made, from the oldest
to those that are younger than what is kept. So no table needs an index of when its rows were over, for which every
task that ends would pay; and what lives on among the old is passed by once a round, however much of it there is.

Each kind has a round of its own and takes turns with the others: one that has millions of rows left, or fails,
makes the others neither wait nor begin again.

Several processes walk at the same time and pass by what another has locked: to look twice costs little, and none
has to be asked whether it is still at it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from time import monotonic
from typing import Any
from uuid import UUID

from django.db.models import Exists, Model, OuterRef, Q, QuerySet

from queueapp import database, deadlines, lifecycle
from queueapp.conf import Config, config
from queueapp.models import AuditEntry, Delivery, Node, Operation, Task, WorkerSession
from queueapp.models.fields import first_id_at

logger = logging.getLogger(__name__)

ROUND_EVERY = timedelta(minutes=10)
SECONDS_A_TICK = 0.05
"""No further portion is begun after that: the passes of this process wait for the tick."""
STATEMENT_SECONDS = 0.5
"""No statement of a portion takes longer. It has some five, on the thread that renews a lease of seconds."""
FIRST_SIZE = 20
LARGEST_SIZE = 200
"""Small tasks with their callbacks are deleted in some 10 ms then, and ones of two megabytes in seconds."""
QUICK_SECONDS = 0.01
SLOW_SECONDS = 0.05
GROWTH = 2
SHRINKING = 4

_FIRST_ID = UUID(int=0)


@dataclass(frozen=True, slots=True)
class Kind:
    """Rows that are kept for as many days as a setting says.

    `prune` deletes those of the keys whose rows were over by then, and returns how many. `in_order`: the keys are
    numbers, and no row outlives one that comes after it.
    """

    model: type[Model]
    days: Callable[[Config], float]
    prune: Callable[[Collection[Any], datetime], int]
    in_order: bool = False

    @property
    def beginning(self) -> Any:
        """Before all keys."""
        return 0 if self.in_order else _FIRST_ID

    def portion(self, after: Any, until: datetime, size: int) -> QuerySet[Any, Any]:
        """The keys of the next rows that may have been over by then, so many at most."""
        rows = self.model._default_manager.filter(pk__gt=after)
        if not self.in_order:
            rows = rows.filter(pk__lt=first_id_at(until))
        return rows.order_by("pk").values_list("pk", flat=True)[:size]


def _those_over(model: type[Model], over: Callable[[datetime], Q]) -> Callable[[Collection[Any], datetime], int]:
    """Deletes rows for which the condition holds."""

    def prune(keys: Collection[Any], until: datetime) -> int:
        rows = model._default_manager.filter(over(until), pk__in=list(keys)).order_by("pk")
        locked = list(rows.select_for_update(skip_locked=True).values_list("pk", flat=True))
        model._default_manager.filter(pk__in=locked).delete()
        return len(locked)

    return prune


def _stopped_and_unnamed(until: datetime) -> Q:
    """A process is known as long as one of its sessions is."""
    return Q(stopped_at__lte=until) & Q(~Exists(WorkerSession.objects.filter(node=OuterRef("pk"))))


KINDS = (
    Kind(Task, lambda c: c.task_retention_days, lambda ids, until: len(lifecycle.prune(ids, until))),
    Kind(Delivery, lambda c: c.callback_retention_days, _those_over(Delivery, lambda t: Q(ended_at__lte=t))),
    Kind(Operation, lambda c: c.operation_retention_days, _those_over(Operation, lambda t: Q(finished_at__lte=t))),
    Kind(
        WorkerSession, lambda c: c.worker_retention_days, _those_over(WorkerSession, lambda t: Q(gone_at__lte=t))
    ),
    Kind(Node, lambda c: c.worker_retention_days, _those_over(Node, _stopped_and_unnamed)),
    Kind(
        AuditEntry,
        lambda c: c.audit_retention_days,
        _those_over(AuditEntry, lambda t: Q(at__lte=t)),
        in_order=True,
    ),
)


class Sweep:
    """Over the rows of one kind, round after round, from the oldest on.

    A portion has as many as are deleted in time, which is known of those before: rows are of any weight, and a
    disk is slow or quick. One that takes too long all the same is cut off and undone, and a smaller one begun.

    What fails of it is passed by, and the rest left for the next round, which begins there: what fails each time
    keeps nothing else, neither of its own kind nor of another.
    """

    def __init__(self, kind: Kind) -> None:
        self._kind = kind
        self._position = kind.beginning
        self._size = FIRST_SIZE

    def round(self, now: datetime) -> Iterator[None]:
        """All that is to be deleted now, a portion at a time."""
        if (days := self._kind.days(config())) <= 0:
            return
        try:
            while self._take_portion(now - timedelta(days=days)):
                yield
        except Exception:
            name = self._kind.model._meta.verbose_name_plural
            logger.warning("Of the %s not all that are over could be deleted.", name, exc_info=True)

    def _take_portion(self, until: datetime) -> bool:
        """Whether there may be more."""
        begun = monotonic()
        beginning = self._position
        pruned = 0
        try:
            with database.brief_transaction(), deadlines.within(STATEMENT_SECONDS):
                keys = list(self._kind.portion(beginning, until, self._size))
                if keys:
                    self._position = keys[-1]
                    pruned = self._kind.prune(keys, until)
        except deadlines.CutOff:
            if self._size == 1:
                raise
            self._position = beginning
            self._shrink()
            return True
        self._adapt(monotonic() - begun)
        if not keys or (self._kind.in_order and not pruned):
            self._position = self._kind.beginning
            return False
        return True

    def _adapt(self, seconds: float) -> None:
        """`seconds`: what a portion of that size took, until it was on the disk."""
        if seconds > SLOW_SECONDS:
            self._shrink()
        elif seconds < QUICK_SECONDS:
            self._size = min(self._size * GROWTH, LARGEST_SIZE)

    def _shrink(self) -> None:
        self._size = max(self._size // SHRINKING, 1)


class Retention:
    """Of one process, used by its database thread."""

    def __init__(self) -> None:
        self._sweeps = [Sweep(kind) for kind in KINDS]
        self._rounds: dict[Sweep, Iterator[None]] = {}
        """Those that are not over, the one whose turn is next before the others."""
        self._next_rounds_at: datetime | None = None

    def tick(self, now: datetime) -> None:
        """Go on for a moment, a portion of each kind in turn. Work goes on whatever becomes of it."""
        if self._next_rounds_at is None:
            self._next_rounds_at = now + ROUND_EVERY
        elif now >= self._next_rounds_at:
            self._next_rounds_at = now + ROUND_EVERY
            self._begin_rounds(now)
        until = monotonic() + SECONDS_A_TICK
        while self._rounds:
            self._take_turn()
            if monotonic() >= until:
                return

    def _begin_rounds(self, now: datetime) -> None:
        """Of each kind but those whose last is not over: one that has much would never come further than that."""
        for sweep in self._sweeps:
            if sweep not in self._rounds:
                self._rounds[sweep] = sweep.round(now)

    def _take_turn(self) -> None:
        sweep = next(iter(self._rounds))
        rest = self._rounds.pop(sweep)
        for _ in rest:
            self._rounds[sweep] = rest
            return
