"""What time does to the queue: `tick(now)` is called about once a second by every server process."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from queueapp import database, doorbell, lifecycle, sessions, statements

_DUE = """
    SELECT
        EXISTS (SELECT 1 FROM queueapp_node WHERE stopped_at IS NULL AND lease_until < %s),
        EXISTS (SELECT 1 FROM queueapp_task WHERE deadline IS NOT NULL AND deadline <= %s),
        EXISTS (SELECT 1 FROM queueapp_task
            WHERE state = 'pending' AND expires_at IS NOT NULL AND expires_at <= %s),
        EXISTS (SELECT 1 FROM queueapp_task WHERE delayed_until IS NOT NULL AND delayed_until <= %s),
        EXISTS (SELECT 1 FROM queueapp_changedkey)
    """
"""Only asked whether there is any; each step then asks for its rows again, under its locks."""


def tick(now: datetime, reap: bool = True) -> None:
    """Dead nodes' tasks back (if `reap`), overdue attempts ended, expired tasks ended, delayed ones made ready.

    Nearly always nothing of this is due, which one statement tells. Each step is a transaction of its own and
    takes a bounded number of rows; what is left over is taken next time, or at once by the repetition here while
    there is much.
    """
    [(dead, overdue, expired, delayed, keys)] = statements.execute(_DUE, [database.adapt(now)] * 4)
    if dead and reap:
        _briefly(sessions.reap_dead_nodes, now)
    if overdue:
        _repeat(lifecycle.time_out, now)
    if expired or dead or overdue:  # what was given back just now may be past its time
        _repeat(lifecycle.expire, now)
    if delayed:
        _repeat(lifecycle.promote, now)
    if keys:  # of which the process that noted it did not live to look at it
        doorbell.ring(keys=True)


def next_promotion() -> datetime | None:
    """When the next delayed task becomes ready."""
    [(at,)] = statements.execute("SELECT MIN(delayed_until) FROM queueapp_task WHERE delayed_until IS NOT NULL")
    return None if at is None else database.as_datetime(at)


def _repeat(step: Callable[[datetime], int], now: datetime, times: int = 10) -> None:
    for _ in range(times):
        if not _briefly(step, now):
            return


def _briefly(step: Callable[[datetime], int], now: datetime) -> int:
    with database.brief_transaction():
        return step(now)
