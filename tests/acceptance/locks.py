"""A task that is held in PostgreSQL, so that whoever is to change it stands still there, however quick it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from tests.acceptance.processes import Server, eventually


@contextmanager
def held(server: Server, task_id: str) -> Iterator[psycopg.Connection]:
    """Nobody else gets past this task, which the connection holds."""
    with psycopg.connect(server.environment["DATABASE_URL"]) as connection:
        connection.execute("SELECT id FROM queueapp_task WHERE id = %s FOR UPDATE", [task_id])
        yield connection


async def until_waited_for(holder: psycopg.Connection, word: str = "") -> None:
    """Until a statement (with this word) waits for what the connection holds."""

    async def is_waited_for() -> bool:
        holder.execute("SELECT pg_stat_clear_snapshot()")  # else it sees what it saw first
        waiting = "SELECT 1 FROM pg_stat_activity WHERE %s = ANY(pg_blocking_pids(pid)) AND query LIKE %s"
        return bool(holder.execute(waiting, [holder.info.backend_pid, f"%{word}%"]).fetchone())

    await eventually(is_waited_for)
