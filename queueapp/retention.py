"""What is over is kept for a time, and then deleted: a little with each tick, so that nobody waits for it.

Each table is walked through in the order of its keys, which is that in which its rows were made, from the oldest
to those that are younger than what is kept. So no table needs an index of when its rows were over, for which every
task that ends would pay; and what lives on among the old is passed by once a round, however much of it there is.

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

from queueapp import database, lifecycle
from queueapp.conf import Config, config
from queueapp.models import AuditEntry, Delivery, Node, Operation, Task, WorkerSession
from queueapp.models.fields import first_id_at

logger = logging.getLogger(__name__)

ROUND_EVERY = timedelta(minutes=10)
SECONDS_A_TICK = 0.05
"""No further portion is begun after that: the passes of this process wait for the tick."""
LOOKED_AT_ONCE = 200
"""Tasks with their callbacks are deleted in some 10 ms then."""

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

    def portion(self, after: Any, until: datetime) -> QuerySet[Any, Any]:
        """The keys of the next rows that may have been over by then."""
        rows = self.model._default_manager.filter(pk__gt=after)
        if not self.in_order:
            rows = rows.filter(pk__lt=first_id_at(until))
        return rows.order_by("pk").values_list("pk", flat=True)[:LOOKED_AT_ONCE]


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


class Retention:
    """Of one process, used by its database thread."""

    def __init__(self) -> None:
        self._round: Iterator[None] = iter(())
        self._next_round_at: datetime | None = None

    def tick(self, now: datetime) -> None:
        """Go on with the round for a moment; or begin one, now and then. Work goes on whatever becomes of it."""
        if self._next_round_at is None:
            self._next_round_at = now + ROUND_EVERY
        elif now >= self._next_round_at:
            self._next_round_at = now + ROUND_EVERY
            self._round = a_round(now)
        until = monotonic() + SECONDS_A_TICK
        for _ in self._round:
            if monotonic() >= until:
                return


def a_round(now: datetime) -> Iterator[None]:
    """All that is to be deleted now, a portion at a time. What fails of one kind is for the next round."""
    settings = config()
    for kind in KINDS:
        if (days := kind.days(settings)) > 0:
            try:
                yield from _walk(kind, now - timedelta(days=days))
            except Exception:
                name = kind.model._meta.verbose_name_plural
                logger.warning("Of the %s not all that are over could be deleted.", name, exc_info=True)


def _walk(kind: Kind, until: datetime) -> Iterator[None]:
    position: Any = 0 if kind.in_order else _FIRST_ID
    while keys := list(kind.portion(position, until)):
        with database.brief_transaction():
            pruned = kind.prune(keys, until)
        yield
        if kind.in_order and not pruned:
            return
        position = keys[-1]
