"""`serve --daphne`: the same promises on the other ASGI server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
import websockets
from processes import Server, closed, finish, receive, started_copy

pytestmark = pytest.mark.only_on("sqlite", reason="what the other server does is the same on either database")


@pytest.fixture
def server(prepared: Server, tmp_path) -> Iterator[Server]:
    with started_copy(prepared, tmp_path, WORKQUEUE_FRAME_LIMIT_BYTES="1000") as server:
        server.terminate()
        server.options = ("--daphne",)
        server.start()
        yield server


async def test_a_task_is_done_and_a_lost_one_is_done_by_another(server: Server):
    async with server.worker("?task=t", subprotocols=["workqueue.v1"]) as first:
        await receive(first)
        (task_id,) = await server.submit({"name": "t"})
        await receive(first)
    async with server.worker("?task=t", subprotocols=["workqueue.v1"]) as second:
        await receive(second)
        (task,) = await receive(second)
        assert (task["task_id"], task["attempt"]) == (task_id, 2)
        await finish(second, task, "done")
        assert (await receive(second))[0]["status"] == "accepted"
    assert (await server.task(task_id, wait=30))["result"] == "done"


async def test_a_frame_that_is_too_large_closes_with_1009(server: Server):
    async with server.worker("?task=t") as worker:
        await worker.send("x" * 1001)
        assert await closed(worker) == 1009


async def test_a_refusal_carries_its_code_and_reason(server: Server):
    async with server.worker("?task=t&_unknown=1") as worker:
        assert await closed(worker) == 4400
        assert "_unknown" in worker.close_reason


async def test_another_address_is_refused_and_no_error_in_the_log(server: Server):
    with pytest.raises(websockets.InvalidStatus) as refused:
        await websockets.connect(f"ws://127.0.0.1:{server.port}/work/queues")
    assert refused.value.response.status_code == 403
    await asyncio.to_thread(server.terminate)  # until then its log may not be whole
    assert not {"ERROR", "Traceback"} & set(server.log.read_text().split())


async def test_an_orderly_end_closes_with_1012_and_gives_back_uncounted(server: Server):
    async with server.worker("?task=t") as worker:
        (task_id,) = await server.submit({"name": "t", "max_attempts": 1})
        await receive(worker)
        assert await asyncio.to_thread(server.terminate) == 0
        assert await closed(worker) == 1012
    server.start()
    task = await server.task(task_id)
    assert (task["state"], task["attempt"]) == ("pending", 1)
