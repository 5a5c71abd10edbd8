"""The sessions that hold the tasks of a batch: their locks, and when they were last given or finished one."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from uuid import UUID

from queueapp import database, statements
from queueapp.statements import NAMED, Asked, about


def lock_holders(session_ids: Iterable[UUID]) -> None:
    """Sessions are locked before tasks wherever both are, so that two transactions cannot wait for each other."""
    for asked in locking(session_ids):
        statements.execute(*asked)


def locking(session_ids: Iterable[UUID]) -> list[Asked]:
    """The same, as what is to be asked first of all."""
    if not database.is_postgresql():
        return []
    locked = f"SELECT id FROM queueapp_workersession WHERE id IN ({NAMED}) ORDER BY id FOR UPDATE"
    return [about(session_ids, locked)]


def note_use(session_ids: Collection[UUID], now: datetime) -> None:
    """They are idle from now on. They are locked already."""
    if session_ids:
        statements.rows_of(
            session_ids,
            f"UPDATE queueapp_workersession SET idle_since = %s WHERE id IN ({NAMED})",
            [database.adapt(now)],
        )


THEN_NOTE_USE = """, used AS (
    UPDATE queueapp_workersession AS session SET idle_since = %s
    FROM (SELECT DISTINCT last_worker_id AS id FROM changed) AS holder WHERE session.id = holder.id
)"""
"""The same as a part of the statement that changes their tasks, on PostgreSQL. Its parameter: the time."""
