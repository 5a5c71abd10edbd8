"""A server process that is stopped (SIGSTOP, a frozen machine) just when it holds locks that all others need."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest
import websockets
from processes import Server, eventually, finish, receive

from tests.servers import PostgresServer, RedisServer

pytestmark = pytest.mark.only_on("postgresql", reason="the embedded set-up is one process")

V1 = {"subprotocols": ["workqueue.v1"]}


class Site:
    """One server that is to be frozen, and another. The general limit for transactions that stand still is off:
    what lets go of the locks is the limit of those transactions themselves."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.postgres = stack.enter_context(PostgresServer())
        self.redis = stack.enter_context(RedisServer())
        self.frozen = self._server(directory / "frozen")
        self.frozen.prepare()
        self.other = self._server(directory / "other")
        self.other.keys = self.frozen.keys
        for server in (self.frozen, self.other):
            server.start()
            stack.callback(server.kill)

    def _server(self, data_dir: Path) -> Server:
        data_dir.mkdir()
        return Server(
            data_dir,
            # By its application's name the database says whose a connection is.
            DATABASE_URL=f"{self.postgres.url}&application_name={data_dir.name}",
            REDIS_URL=self.redis.url,
            WORKQUEUE_IDLE_IN_TRANSACTION_TIMEOUT_SECONDS="0",
        )

    @contextmanager
    def holding(self, lock: str) -> Iterator[None]:
        """A lock of a bystander: who needs what it is of waits, with all the locks it has by then."""
        with psycopg.connect(self.postgres.url) as gate:
            gate.execute(lock)  # type: ignore[arg-type]
            yield
            gate.rollback()

    async def waits(self, *, with_the_dispatch_lock: bool) -> bool:
        """Whether the one that is to be frozen waits for a lock."""
        async with await psycopg.AsyncConnection.connect(self.postgres.url) as looking:
            found = await looking.execute(
                "SELECT EXISTS (SELECT 1 FROM pg_locks l WHERE l.pid = a.pid AND l.granted "
                "AND l.locktype = 'advisory') FROM pg_stat_activity a "
                "WHERE application_name = 'frozen' AND wait_event_type = 'Lock'"
            )
            return (with_the_dispatch_lock,) in await found.fetchall()

    def freeze(self) -> None:
        assert self.frozen.process is not None
        self.frozen.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.frozen.process is not None
        self.frozen.process.send_signal(signal.SIGCONT)


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with ExitStack() as stack:
        yield Site(tmp_path, stack)


async def is_done_by(server: Server, name: str, worker) -> None:
    (task_id,) = await server.submit({"name": name})
    (task,) = await receive(worker)
    assert task["task_id"] == task_id
    await finish(worker, task, "done")
    assert (await receive(worker))[0]["status"] == "accepted"


async def test_one_that_is_frozen_with_the_dispatch_lock_does_not_stop_the_others(site: Site):
    async with site.other.worker("?task=t", **V1) as worker:
        await receive(worker)

        async def caught() -> bool:
            """Whoever dispatches waits where it would note that. Mostly the one that was given the task; if it was
            the other one, in its slow poll, the next time."""
            with site.holding("LOCK TABLE queueapp_activity IN SHARE MODE"):
                await site.frozen.submit({"name": "t"})
                await eventually(lambda: someone_waits(site))
                if await site.waits(with_the_dispatch_lock=True):
                    site.freeze()
                    return True
            await finish(worker, (await receive(worker))[0])
            await receive(worker)
            return False

        await eventually(caught)
        (task,) = await receive(worker)
        await finish(worker, task, "done")
        assert (await receive(worker))[0]["status"] == "accepted"
        site.thaw()
        # It is told that its transaction is over, and goes on.
        await goes_on(site.frozen)
    assert "ERROR" not in _said(site.frozen, but="The lease was lost")


async def goes_on(server: Server) -> None:
    """It serves a worker of its own: another one where it has lost its lease, and closes all that it has."""
    numbers = count()

    async def serves() -> bool:
        name = f"own.{next(numbers)}"
        try:
            async with server.worker(f"?task={name}", **V1) as worker:
                await receive(worker)
                await is_done_by(server, name, worker)
        except websockets.ConnectionClosed:
            assert worker.close_code == 1012
            return False
        return True

    await eventually(serves)


async def someone_waits(site: Site) -> bool:
    async with await psycopg.AsyncConnection.connect(site.postgres.url) as looking:
        found = await looking.execute(
            "SELECT 1 FROM pg_stat_activity a JOIN pg_locks l USING (pid) WHERE l.locktype = 'advisory' "
            "AND l.granted AND wait_event_type = 'Lock'"
        )
        return bool(await found.fetchall())


async def test_one_that_is_frozen_while_it_writes_a_result_does_not_stop_the_others(site: Site):
    """It waits for its task, with a transaction open and nothing in it that any other needs."""
    async with (
        site.frozen.worker("?task=t", **V1) as held_up,
        site.other.worker("?task=u", **V1) as worker,
    ):
        await receive(held_up)
        await receive(worker)
        (task_id,) = await site.frozen.submit({"name": "t", "max_attempts": 1})
        (task,) = await receive(held_up)
        with site.holding("SELECT 1 FROM queueapp_task FOR UPDATE"):
            await finish(held_up, task, "kept")
            await eventually(lambda: site.waits(with_the_dispatch_lock=False))
            site.freeze()
        await is_done_by(site.other, "u", worker)
        site.thaw()
        # Its transaction is over and the result is not: unless by then others have the task, it is written now.
        async with site.other.worker("?task=t", **V1) as heir:
            await receive(heir)

            async def settled() -> dict[str, Any] | None:
                row = await site.other.task(task_id)
                return row if row["state"] != "assigned" or row["attempt"] > 1 else None

            row = await eventually(settled)
            if row["state"] == "succeeded":
                assert row["result"] == "kept"
    assert "ERROR" not in _said(site.frozen, but="The lease was lost")


def _said(server: Server, but: str) -> str:
    return "\n".join(line for line in server.log.read_text().splitlines() if but not in line)
