"""What worker sessions were given and what they reported: noted in one row a batch, and with the next tick written
into the sessions' rows.

To write it there at once would cost as much as the tasks themselves where each has a worker of its own, and have
whoever deals with results and whoever assigns wait for each other.
"""

from __future__ import annotations

import logging
import struct
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from datetime import datetime
from time import monotonic
from typing import Any
from uuid import UUID

from django.db import OperationalError

from queueapp import database, statements
from queueapp.domain.minutes import minute_of
from queueapp.models import Activity
from queueapp.statements import NAMED, Given

logger = logging.getLogger(__name__)

GIVEN, DONE, ERROR, STALE = Activity.Kind.GIVEN, Activity.Kind.DONE, Activity.Kind.ERROR, Activity.Kind.STALE

PAUSES = 50
LONGEST_PAUSE_SECONDS = 5.0
"""To write it for thousands of sessions takes a tenth of a second. Then it is written less often than with every
tick: so many times as long as it takes, nothing is written after it."""

_TALLIES = Given(
    "tally",
    session_id="uuid",
    minute="integer",
    used_at="timestamptz",
    given_done="bigint",
    given_errors="bigint",
    given_stale="integer",
)


def noting(kind: Activity.Kind) -> str:
    """PostgreSQL: a table beside an update of tasks that returns `last_worker_id`; its parameter is the time."""
    distinct = "DISTINCT " if kind is GIVEN else ""
    return f"""
        noted AS (
            INSERT INTO queueapp_activity (kind, at, sessions)
            SELECT '{kind}', %s::timestamptz, string_agg({distinct}uuid_send(last_worker_id), ''::bytea)
            FROM changed HAVING COUNT(*) > 0
        )
        """


def times(now: datetime) -> list[Any]:
    """The parameters of an update with such a table: its own time, and that of what is noted."""
    at = database.adapt(now)
    return [at, at] if database.is_postgresql() else [at]


def note(kind: Activity.Kind, session_ids: Iterable[UUID], now: datetime) -> None:
    """The same in a statement of its own. Results: a session as often as it has some."""
    if sessions := b"".join(session_id.bytes for session_id in session_ids):
        statements.execute(
            "INSERT INTO queueapp_activity (kind, at, sessions) VALUES (%s, %s, %s)",
            [str(kind), database.adapt(now), sessions],
        )


def sessions_in(noted: bytes) -> tuple[bytes, ...]:
    """The ids in a row. (Sliced, those of thousands of sessions take three times as long.)"""
    # Not `struct.unpack`, which keeps the last hundred formats: twenty megabytes of these.
    return struct.Struct(len(noted) // 16 * "16s").unpack(noted)


def lock_sessions(session_ids: Iterable[UUID], or_fail: bool = False) -> None:
    """By id, and before tasks wherever both are locked, so that two transactions cannot wait for each other.
    `or_fail`: OperationalError where one would have to be waited for."""
    if database.is_postgresql():
        rows = f"SELECT id FROM queueapp_workersession WHERE id IN ({NAMED}) ORDER BY id FOR UPDATE"
        statements.rows_of(session_ids, f"{rows} NOWAIT" if or_fail else rows)


class Books:
    """Of one process: when it next writes what was noted, by whichever process. What cannot be written stays
    noted, and the passes, which run on the same thread, go on."""

    def __init__(self) -> None:
        self._next_at = 0.0

    def tick(self) -> None:
        begun_at = monotonic()
        if begun_at >= self._next_at:
            self.write()
            self._next_at = monotonic() + min(LONGEST_PAUSE_SECONDS, PAUSES * (monotonic() - begun_at))

    def write(self) -> None:
        try:
            with database.brief_transaction():
                write_noted()
        except OperationalError as error:  # somebody changes one of these sessions, or the database is away
            logger.info("What was noted of workers is written later: %s", error)
        except Exception:
            logger.warning("What was noted of workers could not be written; it is tried again.", exc_info=True)


def write_noted() -> None:
    """Write all that is noted into the rows of the sessions. What another process is writing is left to it.
    OperationalError where somebody holds one of the sessions: nobody waits for figures."""
    skip_locked = "FOR UPDATE SKIP LOCKED" if database.is_postgresql() else ""
    rows = statements.execute(
        f"""
        DELETE FROM queueapp_activity WHERE id IN (SELECT id FROM queueapp_activity ORDER BY id {skip_locked})
        RETURNING kind, at, sessions
        """
    )
    by_minute: dict[int, list[tuple[str, datetime, Sequence[bytes]]]] = defaultdict(list)
    for kind, at, sessions in rows:
        at = database.as_datetime(at)
        by_minute[minute_of(at)].append((kind, at, sessions_in(sessions)))
    if by_minute:
        noted = (each for rows in by_minute.values() for _, _, sessions in rows for each in sessions)
        lock_sessions({UUID(bytes=session) for session in set(noted)}, or_fail=True)
    for minute in sorted(by_minute):
        _add(minute, by_minute[minute])


def _add(minute: int, noted: Sequence[tuple[str, datetime, Sequence[bytes]]]) -> None:
    """What was noted within one minute since 1970: a session's row tells its results of two apart. It may be the
    one before what has been counted, by a transaction that took long."""
    counted: dict[str, Counter[bytes]] = defaultdict(Counter)
    used_at: dict[bytes, datetime | None] = {}
    for kind, at, sessions in noted:
        if kind != GIVEN:
            counted[kind].update(sessions)
        for session in sessions:
            before = used_at.setdefault(session, None)
            if kind != STALE:  # A word on what it does not hold is no use of it.
                used_at[session] = at if before is None else max(at, before)
    tallies: list[tuple[Any, ...]] = [
        (session.hex(), minute, at, counted[DONE][session], counted[ERROR][session], counted[STALE][session])
        for session, at in used_at.items()
    ]
    latest = "GREATEST" if database.is_postgresql() else "MAX"
    statements.execute(
        f"""
        WITH {_TALLIES.table}
        UPDATE queueapp_workersession AS session SET
            idle_since = {latest}(idle_since, COALESCE(tally.used_at, idle_since)),
            done = done + tally.given_done, errors = errors + tally.given_errors,
            stale_results = stale_results + tally.given_stale,
            ended_in_previous = CASE tally.minute - counted_minute
                WHEN -1 THEN ended_in_previous + tally.given_done + tally.given_errors
                WHEN 0 THEN ended_in_previous
                WHEN 1 THEN ended_in_minute
                ELSE CASE WHEN tally.minute < counted_minute THEN ended_in_previous ELSE 0 END END,
            ended_in_minute = CASE WHEN tally.minute < counted_minute THEN ended_in_minute
                WHEN tally.minute = counted_minute THEN ended_in_minute + tally.given_done + tally.given_errors
                ELSE tally.given_done + tally.given_errors END,
            counted_minute = {latest}(counted_minute, tally.minute)
        FROM tally WHERE session.id = tally.session_id
        """,
        [_TALLIES.rows(tallies)],
    )
