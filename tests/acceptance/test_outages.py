"""The database and Redis go away and come back; the server processes stay.

With `--long` they are away for as long as the guarantees say, else only for a little longer than a lease.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from processes import PATIENCE_SECONDS, Server, eventually, finish, receive, started_on
from redis.asyncio import Redis
from websockets.protocol import State

from tests.servers import PostgresServer, RedisServer

pytestmark = pytest.mark.only_on("postgresql", reason="the embedded set-up has neither server")

LEASE_SECONDS = 8
"""Short, for outages that outlast it: the database's clock goes on while nobody can renew a lease. Long, for when
the database is back: who comes to renew its own later than the others by so much is taken for dead."""

V1 = {"subprotocols": ["workqueue.v1"]}


class Site:
    """Two server processes with a PostgreSQL and a Redis of their own."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.postgres = stack.enter_context(PostgresServer())
        self.redis = stack.enter_context(RedisServer())
        self.servers = started_on(
            stack,
            directory,
            2,
            DATABASE_URL=self.postgres.url,
            REDIS_URL=self.redis.url,
            WORKQUEUE_LEASE_SECONDS=str(LEASE_SECONDS),
            WORKQUEUE_POLL_INTERVAL_SECONDS="0.3",
        )


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with ExitStack() as stack:
        yield Site(tmp_path, stack)


async def flows(site: Site, worker) -> None:
    """A task goes from one process to the worker of the other, and its result back."""
    (task_id,) = await site.servers[0].submit({"name": "t"})
    (task,) = await receive(worker)
    assert task["task_id"] == task_id
    await finish(worker, task, "done")
    (ack,) = await receive(worker)
    assert ack == {"kind": "ack", "task_id": task_id, "attempt": 1, "status": "accepted"}
    assert (await site.servers[0].task(task_id, wait=30))["result"] == "done"


async def test_without_redis_tasks_still_flow_no_socket_is_closed_and_it_recovers(site: Site, long: bool):
    async with site.servers[1].worker("?task=t", **V1) as worker, site.servers[0].worker("?task=u", **V1) as other:
        await receive(worker)
        await receive(other)
        await flows(site, worker)
        site.redis.kill()
        until = time.monotonic() + (30 if long else LEASE_SECONDS)
        while time.monotonic() < until:
            await flows(site, worker)
        await is_told_of_a_cancellation(site, worker)
        assert {socket.state for socket in (worker, other)} == {State.OPEN}
        site.redis.start()
        await flows(site, worker)
        await eventually(lambda: hear_each_other(site))
        for server in site.servers:
            await eventually(lambda server=server: is_ready(server))


async def is_told_of_a_cancellation(site: Site, worker) -> None:
    """By the poll, for its process hears nothing of what the other one has done; nor does the one task hide the
    next, though the worker holds as many as it was sent."""
    (cancelled,) = await site.servers[0].submit({"name": "t"})
    await receive(worker)
    async with site.servers[0].api("producer") as api:
        assert (await api.post(f"/tasks/{cancelled}/cancel")).status_code == 200
    (following,) = await site.servers[0].submit({"name": "t"})
    frames = {frame["kind"]: frame for frame in await receive(worker, 2)}
    assert (frames["cancel"]["task_id"], frames["cancel"]["reason"]) == (cancelled, "cancelled")
    assert frames["task"]["task_id"] == following
    await finish(worker, frames["task"])
    await receive(worker)


async def hear_each_other(site: Site) -> bool:
    """Whether both processes listen at Redis."""
    async with Redis.from_url(site.redis.url) as client:
        listeners = await client.pubsub_numsub(*await client.pubsub_channels("*group*"))
    return [number for _, number in listeners] == [len(site.servers)]


async def is_ready(server: Server) -> bool:
    async with server.api("producer") as api:
        return (await api.get(f"http://127.0.0.1:{server.port}/readyz")).status_code == 200


async def test_without_the_database_answers_are_503_no_socket_is_closed_and_no_result_is_lost(
    site: Site, long: bool
):
    async with site.servers[1].worker("?task=t", **V1) as worker, site.servers[0].worker("?task=u", **V1) as other:
        (welcome,) = await receive(worker)
        await receive(other)
        before, meanwhile, untold = await site.servers[0].submit(*[{"name": "t"}] * 3)
        await receive(worker, 3)
        await finish(worker, {"task_id": before}, "before")
        assert (await receive(worker))[0]["status"] == "accepted"
        site.postgres.kill()
        await finish(worker, {"task_id": meanwhile}, "meanwhile")
        until = time.monotonic() + (10 if long else LEASE_SECONDS + 2)
        while time.monotonic() < until:
            for server in site.servers:
                await is_told_503(server)
        site.postgres.start()
        # The result was kept, and is acknowledged now that it is durable.
        assert (await receive(worker))[0] == {
            "kind": "ack",
            "task_id": meanwhile,
            "attempt": 1,
            "status": "accepted",
        }

        async def submitted() -> bool:
            async with site.servers[0].api("producer") as api:
                return (await api.post("/tasks", json={"name": "other"})).status_code == 201

        await eventually(submitted)
        assert (await site.servers[0].task(before))["result"] == "before"
        assert (await site.servers[0].task(meanwhile))["result"] == "meanwhile"
        held = await site.servers[1].task(untold)
        assert (held["state"], held["attempt"], held["worker"]) == ("assigned", 1, welcome["worker_id"])
        await finish(worker, {"task_id": untold}, "after")
        await receive(worker)
        assert {socket.state for socket in (worker, other)} == {State.OPEN}
        await flows(site, worker)


async def is_told_503(server: Server) -> None:
    async with server.api("producer") as api:
        answers = [await api.post("/tasks", json={"name": "t"}), await api.get("/tasks")]
    for answer in answers:
        assert answer.status_code == 503, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["retry-after"].isdecimal()
        assert json.loads(answer.text)["status"] == 503
        assert "database" in json.loads(answer.text)["detail"]


async def test_a_worker_that_comes_while_the_database_is_away_is_asked_to_come_again(site: Site):
    site.postgres.kill()
    for query in ("?task=t", ""):
        async with site.servers[1].worker(query) as worker:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await worker.wait_closed()
            assert worker.close_code == 1012
    site.postgres.start()


async def test_connections_that_the_database_ends_are_replaced(site: Site):
    async with site.servers[1].worker("?task=t", **V1) as worker:
        await receive(worker)
        await flows(site, worker)
        site.postgres.stop()
        await asyncio.to_thread(site.postgres.start)
        await flows_after_recovery(site, worker)


async def flows_after_recovery(site: Site, worker) -> None:
    async def reads() -> bool:
        async with site.servers[0].api("producer") as api:
            return (await api.get("/tasks")).status_code == 200

    await eventually(reads)
    await flows(site, worker)
