"""The numbers of a queue, counted from the rows when somebody asks."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db.models import Count, Min, Q
from django.db.models.functions import Greatest

from queueapp.domain.states import SessionState, TaskState
from queueapp.models import Subscription, Task

RATE_WINDOW = timedelta(minutes=1)


@dataclass(slots=True)
class Figures:
    """`counts` by state; `oldest_pending_at`: since when the oldest task that is not delayed has been waiting;
    `submitted` and `finished` within the rate window; `workers` that are online and offer the name."""

    counts: dict[str, int] = field(default_factory=dict)
    oldest_pending_at: datetime | None = None
    submitted: int = 0
    finished: int = 0
    workers: int = 0


def figures_of(names: Collection[str], now: datetime) -> dict[str, Figures]:
    """The figures of each of the queues, in two queries."""
    figures = {name: Figures() for name in names}
    since = now - RATE_WINDOW
    tasks = (
        Task.objects.filter(name__in=names)
        .order_by()
        .values_list("name", "state")
        .annotate(
            count=Count("id"),
            submitted=Count("id", filter=Q(created_at__gte=since)),
            finished=Count("id", filter=Q(finished_at__gte=since)),
            oldest=Min(
                Greatest("available_at", "created_at"),
                filter=Q(state=str(TaskState.PENDING), delayed_until__isnull=True),
            ),
        )
    )
    for name, state, count, submitted, finished, oldest in tasks:
        each = figures[name]
        each.counts[state] = count
        each.submitted += submitted
        each.finished += finished
        each.oldest_pending_at = oldest or each.oldest_pending_at
    workers = (
        Subscription.objects.filter(
            name__in=names, session__gone_at__isnull=True, session__state=str(SessionState.ONLINE)
        )
        .order_by()
        .values_list("name")
        .annotate(Count("session", distinct=True))
    )
    for name, count in workers:
        figures[name].workers = count
    return figures
