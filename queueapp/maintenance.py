"""What time does to the queue: `tick(now)` is called about once a second by every server process."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from functools import partial

from queueapp import access, background, database, doorbell, idempotency, lifecycle, sessions, statements
from queueapp.lifecycle import activity

logger = logging.getLogger(__name__)


def _is_past(table: str, column: str, condition: str = "") -> str:
    """SQL for whether some row's time has come, that of the parameter. Asked for in the order of the index: else
    PostgreSQL, without statistics of the table, as in its first minutes, takes a third of its rows for due, and
    looks through all of them for the first. With a hundred thousand tasks that took thirty milliseconds."""
    wanted = f"{column} IS NOT NULL AND {column} <= %s {condition}"
    return f"(SELECT 1 FROM queueapp_{table} WHERE {wanted} ORDER BY {column} LIMIT 1) IS NOT NULL"


_DUE = f"""
    SELECT
        EXISTS (SELECT 1 FROM queueapp_node WHERE stopped_at IS NULL AND lease_until < %s),
        EXISTS (SELECT 1 FROM queueapp_workersession WHERE gone_at IS NULL
            AND node_id NOT IN (SELECT id FROM queueapp_node WHERE stopped_at IS NULL)),
        {_is_past("task", "deadline")},
        {_is_past("task", "expires_at", "AND state = 'pending'")},
        {_is_past("task", "delayed_until")},
        {{state_of_keys}},
        {_is_past("idempotentrequest", "created_at")},
        EXISTS (SELECT 1 FROM queueapp_operation WHERE state = 'running'),
        EXISTS (SELECT 1 FROM queueapp_activity),
        {_is_past("delivery", "next_attempt_at", "AND state = 'pending'")},
        EXISTS (SELECT 1 FROM queueapp_changedkey)
    """
"""Only asked whether there is any; each step then asks for its rows again, under its locks."""


def tick(now: datetime, keys: access.Watch, books: activity.Books, reap: bool = True) -> bool:
    """Dead nodes' tasks back (if `reap`), overdue attempts ended, expired tasks ended, delayed ones made ready;
    the sessions ended that their `keys` do not allow any more; what was noted of sessions written into their rows
    (`books`); answers forgotten that were kept long enough;
    operations carried on, on a thread of their own; a bell rung for callbacks that are due.

    Nearly always nothing of this is due, which one statement tells. Each step is a transaction of its own and
    takes a bounded number of rows; what is left over is taken next time, or at once by the repetition here while
    there is much. Returns whether sessions are left whose process has ended, which are not to wait for the next.
    """
    due = _DUE.format(state_of_keys=access.state_of_keys())
    times = [database.adapt(time) for time in (now, now, now, now, now - idempotency.KEPT, now)]
    [(dead, orphans, overdue, expired, delayed, state, kept, operating, noted, *bells)] = statements.execute(
        due, times
    )
    if dead and reap:
        _briefly(sessions.reap_dead_nodes, now, database.DISPATCH_LOCK)
    has_orphans = bool(orphans or (dead and reap)) and _end_orphans(now)
    if keys_are_due := keys.is_due(state, now):
        _repeat(partial(keys.look, state), now)
    if overdue:
        _repeat(lifecycle.time_out, now)
    if expired or dead or orphans or overdue or keys_are_due:  # what was given back just now may be past its time
        _repeat(lifecycle.expire, now)
    if delayed:
        _repeat(lifecycle.promote, now)
    if kept:
        _repeat(idempotency.prune, now)
    if noted:
        books.tick()
    if operating:  # perhaps by a process that is no more
        background.wake()
    callbacks, changed_keys = bells
    if callbacks or changed_keys:  # of which who noted it did not live to see to it
        doorbell.ring(callbacks=callbacks, keys=changed_keys)
    return has_orphans


def _end_orphans(now: datetime) -> bool:
    """One that cannot be ended must not stop the clock."""
    try:
        return sessions.end_orphans(now)
    except database.DATABASE_AWAY:
        raise
    except Exception:
        logger.exception("Sessions whose process has ended could not be ended.")
        return False


def next_promotion() -> datetime | None:
    """When the next delayed task becomes ready."""
    [(at,)] = statements.execute("SELECT MIN(delayed_until) FROM queueapp_task WHERE delayed_until IS NOT NULL")
    return None if at is None else database.as_datetime(at)


def _repeat(step: Callable[[datetime], int], now: datetime, times: int = 10) -> None:
    for _ in range(times):
        if not _briefly(step, now):
            return


def _briefly(step: Callable[[datetime], int], now: datetime, lock: int | None = None) -> int:
    with database.brief_transaction(lock):
        return step(now)
