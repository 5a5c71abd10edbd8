"""The sessions that hold the tasks of a batch: their locks, and when they were last given or finished one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from queueapp import database, statements
from queueapp.domain.minutes import minute_of
from queueapp.statements import NAMED, Given

_RESULTS = Given("result", session_id="uuid", given_done="bigint", given_errors="bigint", minute="integer")


def lock_holders(session_ids: Iterable[UUID]) -> None:
    """Sessions are locked before tasks wherever both are, so that two transactions cannot wait for each other."""
    if database.is_postgresql():
        statements.rows_of(
            session_ids, f"SELECT id FROM queueapp_workersession WHERE id IN ({NAMED}) ORDER BY id FOR UPDATE"
        )


def note_use(session_ids: Iterable[UUID], now: datetime) -> None:
    """They are idle from now on. They are locked already."""
    statements.rows_of(
        session_ids,
        f"UPDATE queueapp_workersession SET idle_since = %s WHERE id IN ({NAMED})",
        [database.adapt(now)],
    )


def note_results(results: Iterable[tuple[UUID, bool]], now: datetime) -> None:
    """Of (session, whether it was done): they are idle from now on, and their results are counted, in the one
    statement that says the former anyway."""
    counted = Counter(results)
    sessions = {session_id for session_id, _ in counted}
    if not sessions:
        return
    minute = minute_of(now)
    statements.execute(
        f"""
        WITH {_RESULTS.table}
        UPDATE queueapp_workersession AS session SET
            idle_since = %s, done = done + result.given_done, errors = errors + result.given_errors,
            ended_in_previous = CASE result.minute - counted_minute
                WHEN 0 THEN ended_in_previous WHEN 1 THEN ended_in_minute ELSE 0 END,
            ended_in_minute = CASE counted_minute WHEN result.minute THEN ended_in_minute ELSE 0 END
                + result.given_done + result.given_errors,
            counted_minute = result.minute
        FROM result WHERE session.id = result.session_id
        """,
        [
            _RESULTS.rows((i, counted[i, True], counted[i, False], minute) for i in sorted(sessions)),
            database.adapt(now),
        ],
    )
