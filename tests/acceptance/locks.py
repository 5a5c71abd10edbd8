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


async def until_waited_for(holder: psycopg.Connection) -> None:
    """Until somebody waits for what the connection holds."""

    async def is_waited_for() -> bool:
        waiting = "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted AND %s = ANY(pg_blocking_pids(pid)))"
        ((answer,),) = holder.execute(waiting, [holder.info.backend_pid])
        return answer

    await eventually(is_waited_for)
