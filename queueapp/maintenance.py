"""What time does to the queue: `tick(now)` is called about once a second by every server process."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from django.db.models import Min

from queueapp import database, lifecycle, sessions
from queueapp.models import Task


def tick(now: datetime, reap: bool = True) -> None:
    """Dead nodes' tasks back (if `reap`), overdue attempts ended, expired tasks ended, delayed ones made ready.

    Each step is a transaction of its own and takes a bounded number of rows; what is left over is taken
    next time, or at once by the repetition here while there is much.
    """
    if reap:
        _briefly(sessions.reap_dead_nodes, now)
    for step in (lifecycle.time_out, lifecycle.expire, lifecycle.promote):
        _repeat(step, now)


def next_promotion() -> datetime | None:
    """When the next delayed task becomes ready."""
    return Task.objects.filter(delayed_until__isnull=False).aggregate(at=Min("delayed_until"))["at"]


def _repeat(step: Callable[[datetime], int], now: datetime, times: int = 10) -> None:
    for _ in range(times):
        if not _briefly(step, now):
            return


def _briefly(step: Callable[[datetime], int], now: datetime) -> int:
    with database.brief_transaction():
        return step(now)
