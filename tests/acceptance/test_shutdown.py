"""SIGTERM: what workers and producers see of a server that ends in order."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import websockets
from locks import until_waited_for
from processes import PATIENCE_SECONDS, Server, closed, finish, receive, started_copy

PATIENT = {"WORKQUEUE_DRAIN_GRACE_SECONDS": "30", "WORKQUEUE_LOCK_TIMEOUT_SECONDS": "30"}


@pytest.fixture
def server(prepared: Server, tmp_path: Path) -> Iterator[Server]:
    with started_copy(prepared, tmp_path, **PATIENT) as server:
        yield server


async def test_a_worker_may_finish_what_it_holds_and_comes_again(server: Server):
    async with server.worker("?task=t", subprotocols=["workqueue.v1"]) as worker:
        await receive(worker)
        held, _ = (await server.submit({"name": "t"})), await receive(worker)
        ending = asyncio.create_task(asyncio.to_thread(server.terminate))
        (notice,) = await receive(worker)
        assert notice == {"kind": "drain", "reason": "The server restarts."}
        await finish(worker, {"task_id": held[0]}, "finished in time")
        assert (await receive(worker))[0]["status"] == "accepted"
        assert await closed(worker) == 1012
        assert await ending == 0
    server.start()
    task = await server.task(held[0])
    assert (task["state"], task["result"], task["attempt"]) == ("succeeded", "finished in time", 1)


async def test_what_is_not_finished_in_the_grace_is_given_back_uncounted(prepared: Server, tmp_path: Path):
    with started_copy(prepared, tmp_path, WORKQUEUE_DRAIN_GRACE_SECONDS="1") as server:
        async with server.worker("?task=t") as worker:
            (task_id,) = await server.submit({"name": "t", "max_attempts": 1})
            await receive(worker)
            ending = asyncio.create_task(asyncio.to_thread(server.terminate))
            assert await closed(worker) == 1012
            assert await ending == 0
        server.start()
        async with server.worker("?task=t") as worker:
            (task,) = await receive(worker)
            assert (task["task_id"], task["attempt"]) == (task_id, 2)
            await finish(worker, task)
            assert (await server.task(task_id, wait=30))["state"] == "succeeded"


async def test_nothing_new_is_assigned_to_workers_of_a_server_that_ends(server: Server):
    async with server.worker("?task=t&_max_outstanding=1") as worker:
        await server.submit({"name": "t"}, {"name": "t"})
        (first,) = await receive(worker)
        ending = asyncio.create_task(asyncio.to_thread(server.terminate))
        await _until_it_takes_no_connections(server)
        await finish(worker, first)
        with pytest.raises(websockets.ConnectionClosed):
            raise AssertionError(f"The worker was sent {json.loads(await worker.recv())}")
        assert await ending == 0


async def test_a_request_that_waits_is_answered(server: Server):
    (task_id,) = await server.submit({"name": "t"})
    waiting = asyncio.create_task(server.task(task_id, wait=PATIENCE_SECONDS))
    while not await _is_waited_for(server, waiting):
        pass
    assert await asyncio.to_thread(server.terminate) == 0
    assert (await waiting)["state"] == "pending"


@pytest.mark.only_on("postgresql", reason="a lock holds up one statement")
async def test_a_request_that_comes_to_its_wait_while_the_server_ends_is_answered(server: Server):
    """Its task is still being read when all who wait are let go."""
    (task_id,) = await server.submit({"name": "t"})
    with psycopg.connect(server.environment["DATABASE_URL"]) as holder:
        holder.execute("LOCK TABLE queueapp_apikey IN ACCESS EXCLUSIVE MODE")
        waiting = asyncio.create_task(server.task(task_id, wait=PATIENCE_SECONDS))
        await until_waited_for(holder, "digest")
        ending = asyncio.create_task(asyncio.to_thread(server.terminate))
        await _until_it_takes_no_connections(server)
    assert (await waiting)["state"] == "pending"
    assert await ending == 0


async def test_requests_that_come_while_workers_finish_wait_until_they_have(server: Server):
    """Who was let go at once would come again at once, as long as that takes."""
    async with server.worker("?task=t&_max_outstanding=1") as worker, server.api("producer") as api:
        _, waiting = await server.submit({"name": "t"}, {"name": "t"})
        (first,) = await receive(worker)
        task = f"/tasks/{waiting}"
        await asyncio.gather(*[api.get(task) for _ in range(3)])  # connections that it keeps
        ending = asyncio.create_task(asyncio.to_thread(server.terminate))
        await _until_it_takes_no_connections(server)
        late = asyncio.create_task(api.get(task, params={"wait": PATIENCE_SECONDS}))
        events = asyncio.create_task(api.get(f"{task}/events"))
        for _ in range(3):
            assert (await api.get(task)).json()["state"] == "pending"
        assert not late.done()
        assert not events.done()
        await finish(worker, first)
        assert (await late).json()["state"] == "pending"
        assert "event: state" in (await events).text
        assert await ending == 0
    assert "Traceback" not in server.log.read_text()


async def test_a_second_signal_ends_it_at_once_and_says_so_in_one_line(server: Server):
    async with server.worker("?task=t", subprotocols=["workqueue.v1"]) as worker:
        await receive(worker)
        await server.submit({"name": "t"})
        await receive(worker)
        ending = asyncio.create_task(asyncio.to_thread(server.terminate))
        assert (await receive(worker))[0]["kind"] == "drain"
        assert server.process is not None
        server.process.send_signal(signal.SIGINT)
        assert await ending == 1
    assert server.log.read_text().splitlines()[-1].endswith("A second signal: ending at once.")
    assert "Traceback" not in server.log.read_text()


async def _until_it_takes_no_connections(server: Server) -> None:
    """Then it has noticed that it is to end."""
    while await _takes_connections(server):
        pass


async def _takes_connections(server: Server) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", server.port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


async def _is_waited_for(server: Server, waiting: asyncio.Task) -> bool:
    """Or is about to be: the server takes requests in turn, and one that is answered now came in after it."""
    await server.task((await server.tasks())[0]["id"])
    return not waiting.done()
