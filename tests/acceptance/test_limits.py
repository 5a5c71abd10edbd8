"""The limits of the worker's socket, on a server whose patience is short."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator

import pytest
from processes import Server, closed, receive, started_copy

PING_TIMEOUT_SECONDS = 5
"""Those who are to stay must answer in time, however slow the machine is."""


@pytest.fixture(scope="module")
def server(prepared: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    limits = {
        "WORKQUEUE_REGISTRATION_TIMEOUT_SECONDS": "0.2",
        "WORKQUEUE_AUTHENTICATION_TIMEOUT_SECONDS": "0.2",
        "WORKQUEUE_MAX_CONNECTIONS": "2",
        "WORKQUEUE_FRAME_LIMIT_BYTES": "1000",
        "WORKQUEUE_PING_INTERVAL_SECONDS": "0.2",
        "WORKQUEUE_PING_TIMEOUT_SECONDS": str(PING_TIMEOUT_SECONDS),
    }
    with started_copy(prepared, tmp_path_factory.mktemp("limits"), **limits) as server:
        yield server


async def test_no_registration_in_time_closes_with_4408(server):
    async with server.worker() as worker:
        assert await closed(worker) == 4408


async def test_no_credential_in_time_closes_with_4401(server):
    async with server.worker("?task=a", token=None) as worker:
        assert await closed(worker) == 4401


async def test_a_connection_too_many_closes_with_4429(server):
    v1 = {"subprotocols": ["workqueue.v1"]}
    async with server.worker("?task=a", **v1) as first, server.worker("?task=a", **v1) as second:
        await receive(first)
        await receive(second)
        async with server.worker("?task=a") as third:
            assert await closed(third) == 4429
        await second.close()
        # The place is free again once the server has seen the end.
        while True:
            async with server.worker("?task=a", **v1) as third:
                try:
                    await receive(third)
                    break
                except Exception:
                    assert third.close_code == 4429


async def test_the_limit_of_a_frame_is_in_bytes(server):
    async with server.worker("?task=a") as worker:
        await worker.send("ä" * 501)
        assert await closed(worker) == 1009


async def test_a_peer_that_does_not_answer_pings_is_let_go_and_its_task_given_to_others(server):
    """It answers until it has the task, then reads no more."""
    async with server.worker("?task=silent", ping_interval=None) as silent:
        (task_id,) = await server.submit({"name": "silent"})
        await receive(silent)
        silent.transport.pause_reading()
        async with server.worker("?task=silent") as heir:
            (task,) = await receive(heir)
            assert (task["task_id"], task["attempt"]) == (task_id, 2)
        silent.transport.abort()


async def test_a_peer_that_does_not_read_holds_up_nobody_and_is_let_go_with_what_was_not_sent(server):
    """What is to be sent to it fills the buffers on its way, which then stand still. It answers pings until then:
    with one frame that nobody takes from it, it reads no other."""
    async with server.worker("?task=large", max_size=None, max_queue=1, ping_interval=None) as deaf:
        ids = await server.submit(*[{"name": "large", "data": "x" * 200_000}] * 45)
        async with server.worker("?task=other") as other:
            await server.submit({"name": "other"})
            await receive(other)
        async with server.worker("?task=large", max_size=None) as heir:
            tasks = await receive(heir, len(ids))
        deaf.transport.abort()
    assert sorted(task["task_id"] for task in tasks) == sorted(ids)
    assert {task["attempt"] for task in tasks} == {2}


@pytest.mark.only_on("sqlite", reason="its one writer is held up from outside")
async def test_a_worker_that_is_not_read_because_the_database_is_away_is_not_taken_for_dead(server):
    """Its pongs are behind what it said, and wait with it."""
    result = '{"task_id": "01890000-0000-7000-8000-000000000000", "result": "done", "data": "' + "x" * 800 + '"}'
    async with server.worker("?task=patient", subprotocols=["workqueue.v1"]) as worker:
        await receive(worker)
        with sqlite3.connect(server.data_dir / "workqueue.sqlite3", isolation_level=None) as writer:
            writer.execute("BEGIN IMMEDIATE")
            for _ in range(2500):
                await worker.send(result)
            await asyncio.sleep(PING_TIMEOUT_SECONDS + 1.5)  # longer than a ping may go unanswered
            writer.execute("ROLLBACK")
        assert {ack["status"] for ack in await receive(worker, 2500)} == {"unknown"}
