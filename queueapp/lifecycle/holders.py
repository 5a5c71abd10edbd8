"""The sessions that hold the tasks of a batch: their locks, and when they were last given or finished one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable
from datetime import datetime
from uuid import UUID

from queueapp import database, statements
from queueapp.domain.minutes import minute_of
from queueapp.statements import NAMED, Given

_RESULTS = Given("result", session_id="uuid", given_done="bigint", given_errors="bigint")


def lock_holders(session_ids: Iterable[UUID]) -> None:
    """Sessions are locked before tasks wherever both are, so that two transactions cannot wait for each other."""
    if database.is_postgresql():
        statements.rows_of(
            session_ids, f"SELECT id FROM queueapp_workersession WHERE id IN ({NAMED}) ORDER BY id FOR UPDATE"
        )


def note_use(session_ids: Collection[UUID], now: datetime) -> None:
    """They are idle from now on. They are locked already."""
    if session_ids:
        statements.rows_of(
            session_ids,
            f"UPDATE queueapp_workersession SET idle_since = %s WHERE id IN ({NAMED})",
            [database.adapt(now)],
        )


def note_results(results: Iterable[tuple[UUID, bool]], now: datetime) -> None:
    """Of (session, whether it was done): they are idle from now on, and their results are counted, in the one
    statement that says the former anyway. They are locked already."""
    counted = Counter(results)
    sessions = {session_id for session_id, _ in counted}
    if not sessions:
        return
    statements.execute(
        f"""
        WITH {_RESULTS.table}
        UPDATE queueapp_workersession AS session SET
            idle_since = %s, {counting("result.given_done", "result.given_errors", str(minute_of(now)))}
        FROM result WHERE session.id = result.session_id
        """,
        [_RESULTS.rows((i, counted[i, True], counted[i, False]) for i in sorted(sessions)), database.adapt(now)],
    )


def counting(done: str, errors: str, minute: str) -> str:
    """The assignments that count so many results of a session, in this minute (SQL)."""
    return f"""
        done = done + {done}, errors = errors + {errors},
        ended_in_previous = CASE {minute} - counted_minute
            WHEN 0 THEN ended_in_previous WHEN 1 THEN ended_in_minute ELSE 0 END,
        ended_in_minute = CASE counted_minute WHEN {minute} THEN ended_in_minute ELSE 0 END + {done} + {errors},
        counted_minute = {minute}
        """
