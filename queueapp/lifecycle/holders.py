"""The sessions that hold the tasks of a batch: their locks, and when they were last given or finished one."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from uuid import UUID

from queueapp import database, statements
from queueapp.statements import NAMED


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
