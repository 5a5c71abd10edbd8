"""What `workqueue.v1` promises beside the plain exchange, on the wire of a real server: order, credit, limits."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import suppress

import pytest
import websockets
from processes import PATIENCE_SECONDS, Server, closed, eventually, finish, messages, receive, started_copy

V1 = {"subprotocols": ["workqueue.v1"]}


@pytest.fixture(scope="module")
def server(prepared: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with started_copy(prepared, tmp_path_factory.mktemp("protocol")) as server:
        yield server


class TestTheWelcome:
    async def test_comes_first_whatever_a_worker_says_before_it(self, server):
        """Neither errors nor acknowledgements nor the confirmation of a drain overtake it."""
        for said in ("nonsense", '{"task_id": "nobody\'s", "result": "done"}', '{"kind": "drain"}'):
            async with server.worker(**V1) as worker:
                await worker.send('[{"name": "early"}]')
                await worker.send(said)
                first, second = await receive(worker, 2)
                assert first["kind"] == "welcome"
                assert second["kind"] in ("error", "ack", "drain")

    async def test_says_what_the_worker_may_rely_on(self, server):
        async with server.worker("?task=w1&_max_outstanding=3", **V1) as worker:
            assert worker.subprotocol == "workqueue.v1"
            (welcome,) = await receive(worker)
        assert set(welcome) == {"kind", "worker_id", "max_outstanding", "heartbeat", "server"}
        assert (welcome["max_outstanding"], welcome["heartbeat"]) == (3, 10)

    async def test_is_only_for_who_asks_for_it_among_what_it_offers(self, server):
        async with server.worker("?task=w2", subprotocols=["other.v9", "workqueue.v1"]) as worker:
            assert worker.subprotocol == "workqueue.v1"
        async with server.worker("?task=w2", subprotocols=["other.v9"]) as worker:
            assert worker.subprotocol is None


class TestAnAcknowledgement:
    async def test_names_the_attempt_that_the_result_ended_though_the_result_did_not(self, server):
        async with server.worker("?task=a1", **V1) as worker:
            await receive(worker)
            await server.submit({"name": "a1"})
            (task,) = await receive(worker)
            await finish(worker, task)
            (ack,) = await receive(worker)
        assert ack == {"kind": "ack", "task_id": task["task_id"], "attempt": 1, "status": "accepted"}

    async def test_says_stale_of_a_duplicate_and_unknown_of_what_never_was(self, server):
        async with server.worker("?task=a2", **V1) as worker:
            await receive(worker)
            await server.submit({"name": "a2"})
            (task,) = await receive(worker)
            await finish(worker, task)
            await finish(worker, task)
            for nobody in ("01890000-0000-7000-8000-000000000000", "no id at all"):
                await finish(worker, {"task_id": nobody})
            statuses = {}
            for ack in await receive(worker, 4):
                statuses.setdefault(ack["task_id"], []).append(ack["status"])
        assert statuses[task["task_id"]] == ["accepted", "stale"]
        assert [s for task_id, s in statuses.items() if task_id != task["task_id"]] == [["unknown"], ["unknown"]]

    async def test_of_several_results_is_an_array_for_a_worker_with_batch(self, server):
        async with server.worker("?task=a3&_batch=1", **V1) as worker:
            await receive(worker)
            await server.submit(*[{"name": "a3"}] * 5)
            tasks = await messages(worker, 5)
            await worker.send(json.dumps([{"task_id": t["task_id"], "result": "done"} for t in tasks]))
            async with asyncio.timeout(PATIENCE_SECONDS):
                acks = json.loads(await worker.recv())
        assert [ack["status"] for ack in acks] == ["accepted"] * 5

    async def test_of_an_array_of_a_worker_without_batch_is_a_frame_each(self, server):
        async with server.worker("?task=a4", **V1) as worker:
            await receive(worker)
            await server.submit(*[{"name": "a4"}] * 3)
            tasks = await receive(worker, 3)
            await worker.send(json.dumps([{"task_id": t["task_id"], "result": "done"} for t in tasks]))
            assert [ack["kind"] for ack in await receive(worker, 3)] == ["ack"] * 3


class TestAnOldWorker:
    async def test_sees_task_frames_and_nothing_else(self, server):
        """Whatever happens to it: errors, cancellations, acknowledgements, a drain."""
        async with server.worker("?task=old&_max_outstanding=9") as worker:
            assert worker.subprotocol is None
            (cancelled,) = await server.submit({"name": "old"})
            (first,) = await receive(worker)
            await worker.send("nonsense")
            async with server.api("producer") as api:
                await api.post(f"/tasks/{cancelled}/cancel")
            (late,) = await server.submit({"name": "old", "timeout": 0.3, "max_attempts": 1})
            assert (await server.task(late, wait=30))["reason"] == "timeout"
            (done,) = await server.submit({"name": "old", "timeout": 200})
            (second, third) = await receive(worker, 2)
            await finish(worker, third)
            assert (await server.task(done, wait=30))["state"] == "succeeded"
            await worker.send('{"kind": "drain"}')
            (row,) = [row for row in await server.workers() if row["subscriptions"][0]["name"] == "old"]
            async with server.api("operator") as api:
                await api.post(f"/workers/{row['id']}/disconnect")
            rest = []
            with suppress(websockets.ConnectionClosed):
                async for frame in worker:
                    rest.append(json.loads(frame)["kind"])
        assert worker.close_code == 4409
        assert [task["kind"] for task in (first, second, third)] == ["task"] * 3
        assert rest == []


class TestCredit:
    async def test_a_capacity_below_what_is_held_lets_nothing_in_until_it_fits(self, server):
        async with server.worker("?task=credit&_max_outstanding=3", **V1) as worker:
            await receive(worker)
            await server.submit(*[{"name": "credit"}] * 5)
            held = await receive(worker, 3)
            await worker.send('{"kind": "capacity", "max_outstanding": 1}')

            async def lowered() -> bool:
                rows = [row for row in await server.workers() if row["outstanding"] == 3]
                return bool(rows) and rows[0]["max_outstanding"] == 1

            await eventually(lowered)
            for task in held[:2]:
                await finish(worker, task)
            # Two more than it may hold are ended: only acknowledgements come.
            assert [message["kind"] for message in await receive(worker, 2)] == ["ack", "ack"]
            counts = await server.counts("credit")
            assert (counts["assigned"], counts["pending"]) == (1, 2)
            await finish(worker, held[2])
            assert [message["kind"] for message in await receive(worker, 2)] == ["ack", "task"]

    async def test_a_capacity_of_none_stops_the_flow_until_there_is_some(self, server):
        async with server.worker("?task=credit0", **V1) as worker:
            await receive(worker)
            await worker.send('{"kind": "capacity", "max_outstanding": 0}')

            async def lowered() -> bool:
                return any(row["max_outstanding"] == 0 for row in await server.workers())

            await eventually(lowered)
            await server.submit({"name": "credit0"})
            assert (await server.counts("credit0"))["pending"] == 1
            await worker.send('{"kind": "capacity", "max_outstanding": 1}')
            assert (await receive(worker))[0]["kind"] == "task"


class TestExtend:
    async def test_gives_the_attempt_that_much_more_time_for_once(self, server):
        async with server.worker("?task=ext", **V1) as worker:
            await receive(worker)
            (task_id,) = await server.submit({"name": "ext", "timeout": 300})
            (task,) = await receive(worker)
            await worker.send(json.dumps({"kind": "extend", "task_id": task_id, "seconds": 9000}))

            async def extended() -> bool:
                return (await server.task(task_id))["deadline"] > task["deadline"]

            await eventually(extended)


class TestRefusals:
    @pytest.mark.parametrize("query", ["?task=a&_" + "x" * 400 + "=1", "?task=a&" + "ä" * 300 + "=1"])
    async def test_a_reason_is_cut_to_what_a_close_frame_has_room_for(self, server, query):
        async with server.worker(query) as worker:
            assert await closed(worker) == 4400
            assert 0 < len(worker.close_reason.encode()) <= 123

    async def test_a_registration_after_a_credential_as_message_may_come_in_the_query(self, server):
        async with server.worker("?task=reg&_batch=1&_name=n", token=None, **V1) as worker:
            await worker.send(json.dumps({"kind": "auth", "token": server.keys["worker"]}))
            assert (await receive(worker))[0]["kind"] == "welcome"

    async def test_a_wrong_token_as_message_closes_with_4401(self, server):
        async with server.worker("?task=reg", token=None) as worker:
            await worker.send('{"kind": "auth", "token": "wq_wrong"}')
            assert await closed(worker) == 4401

    async def test_an_array_counts_as_one_frame_however_much_in_it_is_unusable(self, server):
        async with server.worker("?task=arr", **V1) as worker:
            await receive(worker)
            await worker.send(json.dumps([{"kind": "nonsense"}] * 1000))
            (error,) = await receive(worker)
            assert error["code"] == "unknown-kind"
            (task_id,) = await server.submit({"name": "arr"})
            assert (await receive(worker))[0]["task_id"] == task_id
