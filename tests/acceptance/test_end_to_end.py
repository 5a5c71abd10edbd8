"""The whole system as its users have it: real processes, sockets and HTTP."""

from __future__ import annotations

import asyncio
import json

import websockets
from processes import Server, eventually, finish, receive


async def test_a_task_goes_to_a_worker_and_its_result_to_the_producer_who_waits(server: Server):
    async with server.worker("?task=tag&cloud=aws,gcp") as worker:
        (task_id,) = await server.submit({"name": "tag", "attrs": {"cloud": "aws"}, "data": {"node": 1}})
        (task,) = await receive(worker)
        assert task.pop("deadline").endswith("Z")
        assert task == {
            "kind": "task",
            "task_id": task_id,
            "task_name": "tag",
            "attrs": {"cloud": "aws"},
            "data": {"node": 1},
            "attempt": 1,
            "timeout": 300.0,
            "priority": 0,
        }
        waiting = asyncio.create_task(server.task(task_id, wait=30))
        await finish(worker, task, {"tagged": True})
        done = await waiting
    assert (done["state"], done["result"]) == ("succeeded", {"tagged": True})


async def test_a_worker_of_the_replaced_system_registers_by_its_first_message(server: Server):
    async with server.worker() as worker:
        await worker.send(
            json.dumps([{"name": "tag", "filter": {"cloud": "aws"}, "info": {"os": "x"}, "description": "old"}])
        )
        ok, bad = await server.submit(*[{"name": "tag", "attrs": {"cloud": "aws"}}] * 2)
        for task in await receive(worker, 2):
            result = {"result": "done", "data": 1} if task["task_id"] == ok else {"result": "error", "error": "no"}
            await worker.send(json.dumps({"task_id": task["task_id"], **result}))
        assert (await server.task(ok, wait=30))["result"] == 1
        failed = await server.task(bad, wait=30)
    assert (failed["state"], failed["reason"], failed["error"]) == ("failed", "error", "no")


async def test_who_has_room_for_several_is_sent_those_first_that_come_first(server: Server):
    priorities = [-1, 5, 0, 3, 0]
    last, first, third, second, fourth = await server.submit(*[{"name": "t", "priority": p} for p in priorities])
    async with server.worker("?task=t&_max_outstanding=10") as worker:
        tasks = await receive(worker, 5)
        assert [task["task_id"] for task in tasks] == [first, second, third, fourth, last]
        assert [task["priority"] for task in tasks] == sorted(priorities, reverse=True)
        for task in tasks:
            await finish(worker, task)


async def test_twenty_tasks_to_four_equal_workers_are_five_each(server: Server):
    async with (
        server.worker("?task=t") as a,
        server.worker("?task=t") as b,
        server.worker("?task=t") as c,
        server.worker("?task=t") as d,
    ):
        await server.until_attached(4)
        await server.submit(*[{"name": "t"}] * 20)
        for worker in (a, b, c, d):
            await receive(worker, 5)
        assert [worker["outstanding"] for worker in await server.workers()] == [5] * 4


async def test_fifty_tasks_of_a_worker_that_dies_are_with_others_at_once_and_none_is_accepted_twice(server):
    async with server.worker("?task=t&_name=heir&_max_outstanding=50") as heir:
        await server.until_attached(1)
        first = await websockets.connect(
            f"ws://127.0.0.1:{server.port}/work/queue?task=t&_name=dying&_max_outstanding=50",
            additional_headers={"Authorization": f"Bearer {server.keys['worker']}"},
        )
        await server.until_attached(2)
        ids = await server.submit(*[{"name": "t"}] * 100)
        theirs = await receive(first, 50)
        for task in await receive(heir, 50):
            await finish(heir, task, "heir")
        first.transport.abort()  # no close frame: as a process that is killed
        again = await receive(heir, 50)
        assert {task["task_id"] for task in again} == {task["task_id"] for task in theirs}
        assert {task["attempt"] for task in again} == {2}
        for task in again:
            await finish(heir, task, "heir")
        await eventually(lambda: _succeeded(server, 100))
        results = {task["id"]: task["result"] for task in await server.tasks(name="t")}
        assert results == dict.fromkeys(ids, "heir")
        others = ("pending", "assigned", "failed", "cancelled", "expired")
        assert await server.counts("t") == {"succeeded": 100, **dict.fromkeys(others, 0)}
        assert [worker["outstanding"] for worker in await server.workers()] == [0]


async def test_a_late_and_a_foreign_result_change_nothing(server: Server):
    async with server.worker("?task=t", subprotocols=["workqueue.v1"]) as holder:
        await receive(holder)  # the welcome
        (task_id,) = await server.submit({"name": "t"})
        (task,) = await receive(holder)
        async with server.worker("?task=other", subprotocols=["workqueue.v1"]) as foreigner:
            await receive(foreigner)
            await finish(foreigner, task, "foreign")
            assert (await receive(foreigner))[0]["status"] == "stale"
        await finish(holder, task, "own")
        assert (await receive(holder))[0]["status"] == "accepted"
        await finish(holder, task, "late")
        assert (await receive(holder))[0]["status"] == "stale"
        assert (await server.task(task_id))["result"] == "own"


async def test_kill_minus_nine_in_the_middle_of_a_thousand_tasks_loses_none(server: Server):
    async def work() -> None:
        """As a worker does: comes back whenever it loses the connection, with its local queue wiped."""
        while True:
            try:
                async with server.worker("?task=t&_max_outstanding=20") as socket:
                    async for text in socket:
                        task = json.loads(text)
                        await finish(socket, task, task["data"])
            except (OSError, websockets.WebSocketException):
                await asyncio.sleep(0.05)

    workers = [asyncio.create_task(work()) for _ in range(4)]
    ids = await server.submit(*({"name": "t", "data": number} for number in range(1000)))
    await eventually(lambda: _succeeded(server, 200))
    server.kill()
    server.start()
    await eventually(lambda: _succeeded(server, 1000))
    for worker in workers:
        worker.cancel()
    await asyncio.gather(*workers, return_exceptions=True)
    ended = {task["id"]: task["result"] for task in await server.tasks(name="t", state="succeeded")}
    assert ended == {task_id: number for number, task_id in enumerate(ids)}


async def _succeeded(server: Server, count: int) -> bool:
    return (await server.counts("t")).get("succeeded", 0) >= count
