"""Limits of a queue and of keys over several processes, of which one is killed: what the rows say all the time."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
import websockets
from processes import Server, cluster, eventually, finish

pytestmark = pytest.mark.only_on("postgresql", reason="the embedded set-up is one process")

LIMIT = 4
PER_KEY = 2
KEYS = ("a", "b", "c")
TASKS = 40
"""Submitted to each process."""


class Observer:
    """Counts what is assigned, by the rows, again and again, and what workers are at, by their own word."""

    def __init__(self) -> None:
        self.most_by_rows: Counter[str] = Counter()
        self.most_at_work: Counter[str] = Counter()
        self.looks = 0
        self.busy: Counter[int] = Counter()
        """By the port of the server."""
        self._at_work: Counter[str] = Counter()

    async def watch(self, server: Server) -> None:
        async with server.api("operator") as api:
            while True:
                # One statement, and so one moment. (`/work/list` lies at the root.)
                rows = (await api.get(f"http://127.0.0.1:{server.port}/work/list")).json()
                assigned = Counter(row["task"]["data"] for row in rows)
                self.most_by_rows |= assigned + Counter(all=len(rows))
                self.looks += 1

    @contextmanager
    def at_work(self, key: str, server: Server) -> Iterator[None]:
        self._at_work[key] += 1
        self.most_at_work |= self._at_work
        self.busy[server.port] += 1
        try:
            yield
        finally:
            self._at_work[key] -= 1
            self.busy[server.port] -= 1


async def work(server: Server, observer: Observer, seconds: float) -> None:
    """Several tasks at a time, until the connection ends: then it forgets what it holds, and stops."""

    async def perform(task: dict[str, Any]) -> None:
        with observer.at_work(task["data"], server):
            await asyncio.sleep(seconds)
        with suppress(websockets.ConnectionClosed):
            await finish(socket, task)

    performing: list[asyncio.Task[None]] = []
    try:
        async with server.worker("?task=t&_max_outstanding=50") as socket:
            async for text in socket:
                performing.append(asyncio.create_task(perform(json.loads(text))))
    except (OSError, websockets.ConnectionClosed):
        for each in performing:
            each.cancel()


async def test_no_more_are_assigned_than_the_limits_say_though_a_process_is_killed(prepared, tmp_path):
    with cluster(prepared, tmp_path, 3) as servers:
        first, second, dying = servers
        await first.submit({"name": "t", "data": "a", "concurrency_key": "a"})
        async with first.api("operator") as api:
            limits = {"concurrency": LIMIT, "concurrency_per_key": PER_KEY}
            assert (await api.patch("/queues/t", json=limits)).status_code == 200
        observer = Observer()
        watching = asyncio.create_task(observer.watch(first))
        working = [
            asyncio.create_task(work(server, observer, 0.5 if server is dying else 0.02))
            for server in servers
            for _ in range(2)
        ]
        await first.until_attached(len(working))
        for part, server in enumerate(servers):
            keys = [KEYS[number % 3] for number in range(TASKS)]
            each = [{"name": "t", "data": key, "concurrency_key": key, "attrs": {"n": str(part)}} for key in keys]
            await server.submit(*each)
        await eventually(lambda: _is_busy(observer, dying))
        dying.kill()
        at_work_before = Counter(observer.most_at_work)
        await eventually(lambda: _succeeded(second, 3 * TASKS + 1))
        for task in [watching, *working]:
            task.cancel()
        await asyncio.gather(watching, *working, return_exceptions=True)
        assert observer.looks > 20, "too few to have seen anything"
        assert observer.most_by_rows["all"] <= LIMIT
        assert max(observer.most_by_rows[key] for key in KEYS) == PER_KEY
        # Workers of a process that was killed may still be at what others are given then: at least once.
        assert max(at_work_before.values()) <= PER_KEY


async def _is_busy(observer: Observer, server: Server) -> bool:
    await asyncio.sleep(0)
    return observer.busy[server.port] > 0


async def _succeeded(server: Server, count: int) -> bool:
    return (await server.counts("t")).get("succeeded", 0) >= count
