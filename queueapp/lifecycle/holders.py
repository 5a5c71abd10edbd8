"""The sessions that hold the tasks of a batch: their locks, and when they were last given or finished one."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from queueapp import database, statements
from queueapp.statements import Given

_HOLDERS = Given("holder", session_id="uuid")


def lock_holders(session_ids: Iterable[UUID]) -> None:
    """Sessions are locked before tasks wherever both are, so that two transactions cannot wait for each other."""
    if database.is_postgresql():
        statements.execute(
            f"""
            WITH {_HOLDERS.table} SELECT id FROM queueapp_workersession
            WHERE id IN (SELECT session_id FROM holder) ORDER BY id FOR UPDATE
            """,
            [_HOLDERS.rows((session_id,) for session_id in session_ids)],
        )


def note_use(session_ids: Iterable[UUID], now: datetime) -> None:
    """They are idle from now on. They are locked already."""
    statements.execute(
        f"""
        WITH {_HOLDERS.table} UPDATE queueapp_workersession SET idle_since = %s
        WHERE id IN (SELECT session_id FROM holder)
        """,
        [_HOLDERS.rows((session_id,) for session_id in session_ids), database.adapt(now)],
    )
