"""Procrastinate on PostgreSQL: the application, and its producer as a program (as `celery_tasks`).

It keeps no results: a job is done when its row says so.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys

import procrastinate
import psycopg

from benchmarks.peers.waiting import timed

URL = os.environ["BENCH_DATABASE"]

app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=URL))


@app.task(name="echo")
async def echo(data: dict[str, int]) -> dict[str, int]:
    return data


async def _submit(tasks: int) -> None:
    async with app.open_async():
        await echo.batch_defer_async(*({"data": {"n": number}} for number in range(tasks)))


async def prepare() -> dict[str, object]:
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
    return {}


def submit(tasks: int) -> dict[str, object]:
    """As its users submit in bulk: one batch."""
    with psycopg.connect(URL, autocommit=True) as connection:
        done = "SELECT 1 FROM procrastinate_jobs WHERE status = 'succeeded'"
        not_done = "SELECT 1 FROM procrastinate_jobs WHERE status IN ('todo', 'doing') LIMIT 1"
        before = connection.execute(done).rowcount
        _, seconds = timed(
            lambda: asyncio.run(_submit(tasks)), lambda: connection.execute(not_done).fetchone() is None
        )
        if connection.execute(done).rowcount - before != tasks:
            raise RuntimeError("Not all jobs succeeded.")
        return seconds


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["prepare"]:
            print(json.dumps(asyncio.run(prepare())))
        case ["submit", number]:
            print(json.dumps(submit(int(number))))
