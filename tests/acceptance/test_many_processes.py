"""Several server processes over one PostgreSQL and one Redis: together they behave as one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator

import pytest
import websockets
from processes import PATIENCE_SECONDS, Server, cluster, eventually, finish, receive

pytestmark = pytest.mark.only_on("postgresql", reason="the embedded set-up is one process")

V1 = {"subprotocols": ["workqueue.v1"]}


@pytest.fixture(scope="module")
def three(prepared: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Server]]:
    """Each test has a name of task of its own."""
    with cluster(prepared, tmp_path_factory.mktemp("three"), 3) as servers:
        yield servers


async def test_one_takes_the_task_another_has_the_worker_and_the_third_the_producer_who_waits(three):
    first, second, third = three
    async with second.worker("?task=t", **V1) as worker:
        await receive(worker)
        (task_id,) = await first.submit({"name": "t", "data": 7})
        (task,) = await receive(worker)
        waiting = asyncio.create_task(third.task(task_id, wait=PATIENCE_SECONDS))
        await finish(worker, task, task["data"] * 6)
        assert (await waiting)["result"] == 42


async def test_tasks_spread_evenly_over_the_workers_of_all(three):
    await three[0].until_attached(0)  # not one of a test before
    async with (
        three[0].worker("?task=spread") as a,
        three[1].worker("?task=spread") as b,
        three[2].worker("?task=spread") as c,
    ):
        await three[0].until_attached(3)
        await three[1].submit(*[{"name": "spread"}] * 30)
        for worker in (a, b, c):
            await receive(worker, 10)
        assert [row["outstanding"] for row in await three[2].workers()] == [10, 10, 10]


async def test_what_one_is_told_reaches_the_socket_of_another(three):
    first, second, _ = three
    async with second.worker("?task=told", **V1) as worker:
        (welcome,) = await receive(worker)
        (task_id,) = await first.submit({"name": "told"})
        await receive(worker)
        async with first.api("producer") as api:
            await api.post(f"/tasks/{task_id}/cancel")
        assert (await receive(worker))[0]["kind"] == "cancel"
        async with first.api("operator") as api:
            await api.post(f"/workers/{welcome['worker_id']}/drain")
            assert (await receive(worker))[0]["kind"] == "drain"
            await api.post(f"/workers/{welcome['worker_id']}/disconnect")
        async with asyncio.timeout(PATIENCE_SECONDS):
            await worker.wait_closed()
        assert worker.close_code == 4409


async def test_the_workers_tasks_of_a_process_that_was_killed_go_to_others_uncounted(three):
    dying, living, _ = three
    async with dying.worker("?task=t") as orphaned:
        (task_id,) = await living.submit({"name": "t", "max_attempts": 1})
        await receive(orphaned)
        async with living.worker("?task=t") as heir:
            dying.kill()
            (task,) = await receive(heir)
            assert (task["task_id"], task["attempt"]) == (task_id, 2)
            await finish(heir, task)
            assert (await living.task(task_id, wait=30))["state"] == "succeeded"
    await asyncio.to_thread(dying.start)


async def test_a_rolling_restart_under_load_loses_nothing_and_uses_up_no_attempts(prepared, tmp_path):
    with cluster(prepared, tmp_path, 3, WORKQUEUE_DRAIN_GRACE_SECONDS="1") as servers:

        async def work(number: int) -> None:
            """Comes back to another process, as behind a load balancer."""
            while True:
                number += 1
                try:
                    async with servers[number % 3].worker("?task=t&_max_outstanding=10") as socket:
                        async for text in socket:
                            await finish(socket, json.loads(text), "done")
                except (OSError, websockets.WebSocketException):
                    await asyncio.sleep(0.05)

        workers = [asyncio.create_task(work(number)) for number in range(6)]
        ids: list[str] = []
        for restarted in servers:
            for _ in range(5):
                others = [server for server in servers if server is not restarted]
                ids += await others[0].submit(*[{"name": "t", "max_attempts": 1}] * 100)
            assert await asyncio.to_thread(restarted.terminate) == 0
            ids += await others[1].submit(*[{"name": "t", "max_attempts": 1}] * 100)
            await asyncio.to_thread(restarted.start)
        await eventually(lambda: _succeeded(servers[0], len(ids)))
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        ended = {task["id"]: task["state"] for task in await servers[0].tasks(name="t")}
        assert ended == dict.fromkeys(ids, "succeeded")


async def _succeeded(server: Server, count: int) -> bool:
    return (await server.counts("t")).get("succeeded", 0) >= count
