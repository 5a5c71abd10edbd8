"""`make recovery`: how soon tasks are with others, and producers served, after something dies, beside its limit.

Three server processes with their default settings on a PostgreSQL and a Redis of their own, and workers as
processes where one is killed or frozen. A time begins with the signal and ends when the heir has read the last of
the tasks from its socket.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import statistics
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import httpx
from redis.asyncio import Redis
from rich.console import Console
from rich.table import Table

from queueapp.checks import DEAD_NODE_SECONDS, DEAD_PEER_SECONDS
from queueapp.conf import Config
from tests.acceptance.processes import HoldingWorker, Server, eventually, finish, receive, started_on
from tests.servers import PostgresServer, RedisServer

SERVERS = 3
TASKS = 10
DEAD_WORKER_SECONDS = 1.0
REDIS_AWAY_SECONDS = 30.0
POSTGRESQL_AWAY_SECONDS = 10.0
UNHEARD_SECONDS = 3 * Config().poll_interval_seconds
"""A poll for each doorbell on a task's way: to the dispatch, to the worker's process, to the producer's."""
V1: dict[str, Any] = {"subprotocols": ["workqueue.v1"]}

Seconds = list[float]


class Site:
    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.postgres = stack.enter_context(PostgresServer())
        self.redis = stack.enter_context(RedisServer())
        self._numbers = count()
        backed = {"DATABASE_URL": self.postgres.url, "REDIS_URL": self.redis.url}
        self.servers = started_on(stack, directory, SERVERS, **backed)

    def name(self) -> str:
        """Of a queue in which nobody else has tasks."""
        return f"recovery-{next(self._numbers)}"

    @asynccontextmanager
    async def heir(
        self, name: str, server: Server, *, holding: Callable[[], Awaitable[Any]]
    ) -> AsyncIterator[Any]:
        """Who is to get the tasks of the name, once another worker holds them."""
        await server.submit(*[{"name": name}] * TASKS)
        await holding()
        async with server.worker(f"?task={name}", **V1) as heir:
            await receive(heir)
            yield heir


async def inherited(heir: Any, began: float) -> float:
    tasks = await receive(heir, TASKS)
    seconds = time.monotonic() - began
    for task in tasks:
        await finish(heir, task)
    await receive(heir, TASKS)
    return seconds


async def worker_ended(site: Site, number: signal.Signals) -> float:
    """Killed or frozen; what it held came from a server of its own, and goes to a worker of another one."""
    name, (own, other, _) = site.name(), site.servers
    async with (
        HoldingWorker(own, f"?task={name}") as worker,
        site.heir(name, other, holding=lambda: worker.receive(TASKS)) as heir,
    ):
        began = time.monotonic()
        worker.send_signal(number)
        return await inherited(heir, began)


async def workers_frozen(site: Site, rounds: int) -> Seconds:
    """All at a time, begun in turn: a ping comes every ten seconds."""

    async def begun(number: int) -> float:
        await asyncio.sleep(number * 10 / rounds)
        return await worker_ended(site, signal.SIGSTOP)

    return list(await asyncio.gather(*map(begun, range(rounds))))


async def server_ended(site: Site, number: signal.Signals) -> float:
    """Killed, and started again afterwards; or frozen, and thawed."""
    name, (dying, other, _) = site.name(), site.servers
    assert dying.process is not None
    async with (
        dying.worker(f"?task={name}") as orphaned,
        site.heir(name, other, holding=lambda: receive(orphaned, TASKS)) as heir,
    ):
        began = time.monotonic()
        if number == signal.SIGKILL:
            dying.kill()
        else:
            dying.process.send_signal(number)
        try:
            return await inherited(heir, began)
        finally:
            if number == signal.SIGKILL:
                await asyncio.to_thread(dying.start)
            else:
                dying.process.send_signal(signal.SIGCONT)
                # It learns that others have its tasks, and starts anew.
                await orphaned.wait_closed()


@asynccontextmanager
async def flowing(site: Site) -> AsyncIterator[Callable[[], Awaitable[float]]]:
    """Measures one task from a producer of one server to a worker of another and back."""
    name, (producing, working, _) = site.name(), site.servers
    async with working.worker(f"?task={name}", **V1) as worker:
        await receive(worker)

        async def round_trip() -> float:
            began = time.monotonic()
            (task_id,) = await producing.submit({"name": name})
            (task,) = await receive(worker)
            await finish(worker, task)
            await producing.task(task_id, wait=30)
            seconds = time.monotonic() - began
            await receive(worker)
            return seconds

        yield round_trip


async def redis_away(site: Site) -> tuple[Seconds, Seconds, float]:
    """Round trips with Redis and without it, and how long after its return all processes hear each other."""
    async with flowing(site) as round_trip:
        there = [await round_trip() for _ in range(20)]
        site.redis.kill()
        away = []
        until = time.monotonic() + REDIS_AWAY_SECONDS
        while time.monotonic() < until:
            away.append(await round_trip())
        await asyncio.to_thread(site.redis.start)
        began = time.monotonic()
        await eventually(lambda: all_listen(site))
        return there, away, time.monotonic() - began


async def all_listen(site: Site) -> bool:
    async with Redis.from_url(site.redis.url) as client:
        listeners = await client.pubsub_numsub(*await client.pubsub_channels("*group*"))
    return [number for _, number in listeners] == [SERVERS]


async def postgresql_away(site: Site) -> float:
    """From its return until every server has accepted a task and one has made a whole round."""
    async with flowing(site) as round_trip:
        await round_trip()
        await asyncio.to_thread(site.postgres.kill)
        await asyncio.sleep(POSTGRESQL_AWAY_SECONDS)
        await asyncio.to_thread(site.postgres.start)
        began = time.monotonic()
        await asyncio.gather(*(eventually(partial(accepts, server)) for server in site.servers))
        await round_trip()
        return time.monotonic() - began


async def accepts(server: Server) -> bool:
    async with server.api("producer") as api:
        try:
            return (await api.post("/tasks", json={"name": "recovery"})).status_code == 201
        except httpx.HTTPError:
            return False


async def measure(console: Console) -> None:
    table = Table(title="Recovery: from the fault until the tasks are with others, or all is as before")
    for column in ("what", "limit s", "median s", "worst s", "worst, to the limit", "times"):
        table.add_column(column, justify="left" if column == "what" else "right")

    def add(what: str, limit: float, seconds: Seconds) -> None:
        median, worst = statistics.median(seconds), max(seconds)
        figures = (f"{limit:g}", f"{median:.2f}", f"{worst:.2f}", f"{worst / limit:.2f}", str(len(seconds)))
        table.add_row(what, *figures)

    async def times(rounds: int, once: Callable[[], Awaitable[float]]) -> Seconds:
        return [await once() for _ in range(rounds)]

    async with AsyncExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="workqueue-recovery-"))
        site = Site(Path(directory), stack.enter_context(ExitStack()))
        killed = await times(10, lambda: worker_ended(site, signal.SIGKILL))
        add("worker process killed", DEAD_WORKER_SECONDS, killed)
        add("worker process frozen", DEAD_PEER_SECONDS, await workers_frozen(site, 5))
        add("server killed (-9)", DEAD_NODE_SECONDS, await times(5, lambda: server_ended(site, signal.SIGKILL)))
        add("server frozen", DEAD_NODE_SECONDS, await times(3, lambda: server_ended(site, signal.SIGSTOP)))
        there, away, back = await redis_away(site)
        add("a task there and back, with Redis", UNHEARD_SECONDS, there)
        add(f"the same, Redis away for {REDIS_AWAY_SECONDS:g} s", UNHEARD_SECONDS, away)
        add("Redis back: heard again", REDIS_AWAY_SECONDS, [back])
        back_seconds = await times(3, lambda: postgresql_away(site))
        add(f"PostgreSQL back after {POSTGRESQL_AWAY_SECONDS:g} s", POSTGRESQL_AWAY_SECONDS, back_seconds)
    console.print(table)


def main() -> None:
    logging.getLogger("httpx").setLevel(logging.WARNING)
    asyncio.run(measure(Console()))


if __name__ == "__main__":
    main()
