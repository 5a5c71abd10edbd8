"""The worker protocol on the wire, against the server as users start it: one class a rule of the contract."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import jwt
import pytest
import websockets
from processes import PATIENCE_SECONDS, Server, eventually, finish, receive, started_copy

V1 = {"subprotocols": ["workqueue.v1"]}
PSK = "a pre-shared key"


@pytest.fixture(scope="module")
def server(prepared: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    patient = {
        "WORKQUEUE_AUTHENTICATION_TIMEOUT_SECONDS": str(PATIENCE_SECONDS),
        "WORKQUEUE_REGISTRATION_TIMEOUT_SECONDS": str(PATIENCE_SECONDS),
    }
    with started_copy(prepared, tmp_path_factory.mktemp("socket"), WORKQUEUE_PSK=PSK, **patient) as server:
        yield server


async def close_of(socket: Any) -> tuple[int, str]:
    """The code and reason with which the server closes."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        with suppress(websockets.ConnectionClosed):
            async for _ in socket:
                pass
    return socket.close_code, socket.close_reason


def token_for(psk: str, **claims: Any) -> str:
    salt = b"some salt"
    key = hashlib.pbkdf2_hmac("sha256", psk.encode(), salt, 100_000, 32)
    return jwt.encode(claims, key, algorithm="HS256", headers={"salt": base64.b64encode(salt).decode()})


class TestRegistration:
    @pytest.mark.parametrize(
        ("query", "says"),
        [
            ("?task=", "task name"),
            ("?task=a,,b", "task name"),
            ("?task=a%20b", "task name"),
            ("?task=a&cloud=", "cloud"),
            ("?task=a&cloud=aws,,gcp", "cloud"),
            ("?cloud=aws", "task="),
            ("?task=a&_colour=red", "_colour"),
            ("?task=a&_max_outstanding=0", "_max_outstanding"),
            ("?task=a&_max_outstanding=many", "_max_outstanding"),
            ("?task=a&_batch=yes", "_batch"),
            ("?task=a&cloud=%FF", "UTF-8"),
            ("?task=a&cloud=%00", "NUL"),
        ],
    )
    async def test_parameters_that_cannot_be_used_close_with_4400_and_say_which(self, server, query, says):
        async with server.worker(query) as worker:
            code, reason = await close_of(worker)
        assert code == 4400
        assert says in reason

    @pytest.mark.parametrize(
        "message",
        ["", "{}", "[]", "null", "[1]", '[{"filter": {}}]', '[{"name": "a", "filter": {"x": 1}}]', "[" * 100_000],
    )
    async def test_a_first_message_that_is_no_registration_closes_with_4400(self, server, message):
        async with server.worker() as worker:
            await worker.send(message)
            assert (await close_of(worker))[0] == 4400

    async def test_an_encoded_comma_separates_and_repeats_add_up(self, server):
        query = "?task=r1%2Cr2&task=r3&cloud=aws%2Cgcp&cloud=azure&_max_outstanding=7&_name=mine&_version=1.2"
        async with server.worker(query, **V1) as worker:
            (welcome,) = await receive(worker)
            (row,) = [row for row in await server.workers() if row["id"] == welcome["worker_id"]]
        assert {subscription["name"] for subscription in row["subscriptions"]} == {"r1", "r2", "r3"}
        assert all(set(s["filter"]["cloud"]) == {"aws", "gcp", "azure"} for s in row["subscriptions"])
        assert (row["name"], row["version"], row["max_outstanding"]) == ("mine", "1.2", 7)
        assert welcome["max_outstanding"] == 7


class TestAnotherAddress:
    @pytest.mark.parametrize("path", ["/", "/work", "/work/queue/", "/work/queues", "/api/v1/tasks", "/%0A%00"])
    async def test_is_answered_with_404(self, server, path):
        with pytest.raises(websockets.InvalidStatus) as refused:
            await websockets.connect(f"ws://127.0.0.1:{server.port}{path}", **V1)
        response = refused.value.response
        assert response.status_code == 404
        assert response.headers["Content-Type"] == "application/problem+json"
        assert "/work/queue" in json.loads(response.body)["detail"]

    async def test_leaves_no_error_in_the_log(self, prepared, tmp_path):
        with started_copy(prepared, tmp_path) as server:
            with pytest.raises(websockets.InvalidStatus):
                await websockets.connect(f"ws://127.0.0.1:{server.port}/work/queues")
            await asyncio.to_thread(server.terminate)  # until then its log may not be whole
        assert not {"ERROR", "Traceback"} & set(server.log.read_text().split())


class TestCredential:
    async def test_a_wrong_key_closes_with_4401(self, server):
        async with server.worker("?task=a", token="wq_wrong") as worker:
            assert (await close_of(worker))[0] == 4401

    async def test_none_at_all_closes_with_4401(self, server):
        async with server.worker("?task=a", token=None) as worker:
            await worker.send('[{"name": "a"}]')
            assert (await close_of(worker))[0] == 4401

    async def test_a_client_that_cannot_set_headers_sends_it_first(self, server):
        async with server.worker("?task=auth1", token=None, **V1) as worker:
            await worker.send(json.dumps({"kind": "auth", "token": server.keys["worker"]}))
            assert (await receive(worker))[0]["kind"] == "welcome"
        async with server.worker(token=None, **V1) as worker:
            await worker.send(json.dumps({"kind": "auth", "token": server.keys["worker"]}))
            await worker.send('[{"name": "auth1"}]')
            assert (await receive(worker))[0]["kind"] == "welcome"

    async def test_a_producers_key_may_not_attach(self, server):
        async with server.worker("?task=a", token=server.keys["producer"]) as worker:
            assert (await close_of(worker))[0] == 4403

    async def test_a_key_for_some_names_may_not_perform_others(self, server):
        key = server.manage("create_api_key", "narrow", "--role", "worker", "--tasks", "img.*").strip()
        async with server.worker("?task=img.resize,tag", token=key) as worker:
            assert await close_of(worker) == (4403, "This key may not perform tag.")
        async with server.worker("?task=img.resize", token=key, **V1) as worker:
            assert (await receive(worker))[0]["kind"] == "welcome"

    async def test_a_token_signed_with_the_pre_shared_key_is_accepted_until_it_expires(self, server):
        async with server.worker("?task=a", token=token_for(PSK), **V1) as worker:
            assert (await receive(worker))[0]["kind"] == "welcome"
        for wrong in (token_for(PSK, exp=time.time() - 60), token_for("another"), "no.jwt"):
            async with server.worker("?task=a", token=wrong) as worker:
                assert (await close_of(worker))[0] == 4401


class TestFrames:
    BAD = (
        "",
        "hello",
        "null",
        "1",
        '"text"',
        "{",
        "[[]]",
        "{}",
        '{"result": "done"}',
        '{"task_id": 1, "result": "done"}',
        '{"task_id": "x", "result": "perhaps"}',
        '{"kind": "explode"}',
        '{"kind": "progress", "task_id": "x", "progress": 7}',
        '{"kind": "capacity", "max_outstanding": "many"}',
        '{"kind": "capacity", "max_outstanding": 99999999999}',
        '{"task_id": "\\u0000", "result": "done"}',
        '{"task_id": "\\ud800", "result": "done"}',
        '{"task_id": "01890000-0000-7000-8000-000000000000", "result": "done", "attempt": 99999999999999999999}',
        '{"task_id": "01890000-0000-7000-8000-000000000000", "result": "done"}',
        "[" * 200_000,
        '{"a":' * 50_000,
        b"\x00\xff",
        b'{"task_id": "x"}',
    )

    async def test_bad_frames_end_no_connection_and_lose_no_task(self, server):
        async with server.worker("?task=bad") as worker:
            (task_id,) = await server.submit({"name": "bad"})
            (task,) = await receive(worker)
            for frame in self.BAD:
                await worker.send(frame)
            await finish(worker, task, "still here")
            assert (await server.task(task_id, wait=30))["result"] == "still here"
            # An old worker sees nothing that it does not know: the next frame is the next task.
            await server.submit({"name": "bad"})
            assert (await receive(worker))[0]["kind"] == "task"

    async def test_a_v1_worker_is_told_what_was_wrong(self, server):
        async with server.worker("?task=bad2", **V1) as worker:
            await receive(worker)
            for frame in ("hello", b"\x00", '{"kind": "explode"}'):
                await worker.send(frame)
            assert [(m["kind"], m["code"]) for m in await receive(worker, 3)] == [
                ("error", "not-json"),
                ("error", "binary"),
                ("error", "unknown-kind"),
            ]

    async def test_more_than_a_hundred_unusable_frames_in_a_minute_close_with_4429(self, server):
        async with server.worker("?task=bad3") as worker:
            for _ in range(101):
                await worker.send("nonsense")
            assert (await close_of(worker))[0] == 4429

    async def test_a_frame_above_the_limit_closes_with_1009(self, server):
        async with server.worker("?task=bad4") as worker:
            await worker.send("x" * (1024 * 1024 + 1))
            assert (await close_of(worker))[0] == 1009

    @pytest.mark.parametrize(
        "payload",
        [
            "NaN",
            "[1, Infinity]",
            '"\\u0000"',
            '"\\ud800"',
            '{"\\udfff": 1}',
            "[" * 100 + "]" * 100,
            "[" * 50_000 + "]" * 50_000,
            "1e999",
        ],
    )
    async def test_a_result_that_cannot_be_stored_fails_its_task_with_that_reason(self, server, payload):
        async with server.worker("?task=odd") as worker:
            (task_id,) = await server.submit({"name": "odd"})
            (task,) = await receive(worker)
            await worker.send(f'{{"task_id": "{task["task_id"]}", "result": "done", "data": {payload}}}')
            failed = await server.task(task_id, wait=30)
        assert (failed["state"], failed["reason"]) == ("failed", "error")
        assert "cannot be stored" in failed["error"]

    async def test_with_batch_both_sides_may_send_arrays(self, server):
        async with server.worker("?task=many&_batch=1") as worker:
            ids = await server.submit(*[{"name": "many"}] * 30)
            tasks: list[dict[str, Any]] = []
            while len(tasks) < 30:
                frame = json.loads(await worker.recv())
                tasks.extend(frame if isinstance(frame, list) else [frame])
            await worker.send(json.dumps([{"task_id": t["task_id"], "result": "done", "data": 1} for t in tasks]))
            for task_id in ids:
                assert (await server.task(task_id, wait=30))["state"] == "succeeded"


class TestMessages:
    async def test_an_error_with_retry_comes_again_after_the_backoff(self, server):
        async with server.worker("?task=again") as worker:
            (task_id,) = await server.submit({"name": "again", "backoff": {"initial": 0.2}})
            (task,) = await receive(worker)
            error = {"result": "error", "error": "later", "retry": True, "details": {"why": 1}}
            await worker.send(json.dumps({"task_id": task["task_id"], **error}))
            (task,) = await receive(worker)
            assert task["attempt"] == 2
            await finish(worker, task, "at last")
            assert (await server.task(task_id, wait=30))["result"] == "at last"

    async def test_progress_is_shown_and_restarts_the_timeout(self, server):
        async with server.worker("?task=slow") as worker:
            (task_id,) = await server.submit({"name": "slow"})
            (task,) = await receive(worker)
            message = {"kind": "progress", "task_id": task["task_id"], "progress": 0.5, "message": "half"}
            await worker.send(json.dumps(message))

            async def shown() -> dict[str, Any] | None:
                row = await server.task(task_id)
                return row if row["progress"] == 0.5 else None

            assert (await eventually(shown))["deadline"] > task["deadline"]

    async def test_without_result_or_sign_of_life_the_attempt_times_out_and_v1_workers_are_told(self, server):
        async with server.worker("?task=hang", **V1) as worker:
            await receive(worker)
            (task_id,) = await server.submit({"name": "hang", "timeout": 0.3, "max_attempts": 1})
            task, cancel = await receive(worker, 2)
            assert (cancel["kind"], cancel["task_id"], cancel["reason"]) == ("cancel", task["task_id"], "timeout")
        ended = await server.task(task_id)
        assert (ended["state"], ended["reason"]) == ("failed", "timeout")

    async def test_a_task_given_back_goes_to_another_attempt_uncounted(self, server):
        async with server.worker("?task=back") as worker:
            (task_id,) = await server.submit({"name": "back", "max_attempts": 1})
            (task,) = await receive(worker)
            await worker.send(json.dumps({"kind": "release", "task_id": task["task_id"]}))
            (task,) = await receive(worker)
            assert task["attempt"] == 2
            await finish(worker, task)
            assert (await server.task(task_id, wait=30))["state"] == "succeeded"

    async def test_capacity_bounds_what_is_sent_from_then_on(self, server):
        async with server.worker("?task=cap&_max_outstanding=1") as worker:
            await server.submit(*[{"name": "cap"}] * 4)
            await receive(worker)
            await worker.send('{"kind": "capacity", "max_outstanding": 3}')
            await receive(worker, 2)
            assert (await server.counts("cap"))["assigned"] == 3

    async def test_a_draining_worker_finishes_what_it_holds_and_gets_nothing_new(self, server):
        async with server.worker("?task=dry&_name=dry", **V1) as worker:
            (welcome,) = await receive(worker)
            first, _ = await server.submit({"name": "dry"}), await receive(worker)
            await worker.send('{"kind": "drain"}')
            # Confirmed once no more is assigned: what is sent before that is still to be given back.
            assert (await receive(worker))[0]["kind"] == "drain"

            async def draining() -> bool:
                rows = {row["id"]: row for row in await server.workers()}
                return rows[welcome["worker_id"]]["state"] == "draining"

            await eventually(draining)
            (second,) = await server.submit({"name": "dry"})
            await finish(worker, {"task_id": first[0]}, "done")
            assert (await server.task(first[0], wait=30))["result"] == "done"
            assert (await server.task(second))["state"] == "pending"

    async def test_a_cancelled_task_is_taken_from_its_worker_who_is_told(self, server):
        async with server.worker("?task=stop", **V1) as worker:
            await receive(worker)
            (task_id,) = await server.submit({"name": "stop"})
            await receive(worker)
            async with server.api("producer") as api:
                assert (await api.post(f"/tasks/{task_id}/cancel")).json()["state"] == "cancelled"
            (cancel,) = await receive(worker)
            assert cancel == {"kind": "cancel", "task_id": task_id, "attempt": 1, "reason": "cancelled"}
            await finish(worker, {"task_id": task_id})
            assert (await receive(worker))[0]["status"] == "stale"

    async def test_an_operator_disconnects_with_4409_and_the_tasks_go_to_others_uncounted(self, server):
        async with server.worker("?task=off", **V1) as worker:
            (welcome,) = await receive(worker)
            (task_id,) = await server.submit({"name": "off", "max_attempts": 1})
            await receive(worker)
            async with server.api("operator") as api:
                answer = await api.post(f"/workers/{welcome['worker_id']}/disconnect")
                assert answer.status_code == 200
            assert (await close_of(worker))[0] == 4409
        async with server.worker("?task=off") as worker:
            (task,) = await receive(worker)
            assert (task["task_id"], task["attempt"]) == (task_id, 2)
