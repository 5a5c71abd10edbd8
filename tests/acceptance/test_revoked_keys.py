"""A key that is revoked while workers are attached with it and producers wait; what else keys allow."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from processes import PATIENCE_SECONDS, Server, cluster, eventually, finish, receive, started_copy

V1 = {"subprotocols": ["workqueue.v1"]}
REVOKED = (4401, "The API key was revoked.")


@pytest.fixture
def server(prepared: Server, tmp_path: Path) -> Iterator[Server]:
    with started_copy(prepared, tmp_path) as server:
        yield server


def key(server: Server, name: str, role: str = "worker", *options: str) -> str:
    return server.manage("create_api_key", name, "--role", role, *options).strip()


async def end_of(socket: Any) -> tuple[int, str]:
    async with asyncio.timeout(PATIENCE_SECONDS):
        await socket.wait_closed()
    return socket.close_code, socket.close_reason


async def test_a_command_ends_the_sessions_and_their_tasks_are_done_by_others_uncounted(server):
    leaked = key(server, "leaked")
    async with server.worker("?task=t", token=leaked, **V1) as doomed:
        await receive(doomed)
        (task_id,) = await server.submit({"name": "t", "max_attempts": 1})
        await receive(doomed)
        async with server.worker("?task=t") as heir:
            await asyncio.to_thread(server.manage, "revoke_api_key", "leaked")
            assert await end_of(doomed) == REVOKED
            (task,) = await receive(heir)
            assert (task["task_id"], task["attempt"]) == (task_id, 2)
            await finish(heir, task)
            assert (await server.task(task_id, wait=PATIENCE_SECONDS))["state"] == "succeeded"
    async with server.worker("?task=t", token=leaked) as again:
        assert (await end_of(again))[0] == 4401


async def test_who_waits_with_it_gets_no_answer_when_the_wait_is_over(server):
    leaked = key(server, "leaked", "producer")
    async with server.worker("?task=t") as worker, server.api("producer") as api:
        api.headers["Authorization"] = f"Bearer {leaked}"
        submitting = asyncio.create_task(
            api.post("/tasks", json={"name": "t"}, headers={"Prefer": f"wait={PATIENCE_SECONDS}"})
        )
        (task,) = await receive(worker)
        reading = asyncio.create_task(api.get(f"/tasks/{task['task_id']}", params={"wait": PATIENCE_SECONDS}))
        # A request behind the one that waits: it is being served by now, or will be refused at once.
        assert (await api.get("/tasks")).status_code == 200
        await asyncio.to_thread(server.manage, "revoke_api_key", "leaked")
        await finish(worker, task, "secret")
        for waiting in (submitting, reading):
            answer = await waiting
            assert answer.status_code == 401
            assert "secret" not in answer.text


async def test_a_worker_may_narrow_the_bounds_of_its_key_and_never_widen_them(server):
    bounded = key(server, "bounded", "worker", "--bounds", "cloud=aws,gcp")
    async with server.worker("?task=t", token=bounded) as worker:
        assert await end_of(worker) == (4403, "This key allows only cloud=aws,gcp; t has no such filter.")
    async with server.worker("?task=t&cloud=aws,azure", token=bounded) as worker:
        assert await end_of(worker) == (4403, "This key allows only cloud=aws,gcp; t has azure.")
    async with server.worker(token=bounded) as worker:
        await worker.send(json.dumps([{"name": "t", "filter": {"cloud": "aws"}}, {"name": "u"}]))
        assert (await end_of(worker))[0] == 4403
    async with server.worker("?task=t&cloud=aws&account=1", token=bounded, **V1) as worker:
        assert (await receive(worker))[0]["kind"] == "welcome"


async def test_a_reason_that_no_frame_has_room_for_is_cut(server):
    async with server.worker(f"?task=t&_{'x' * 300}=1") as worker:
        code, reason = await end_of(worker)
    assert code == 4400
    assert reason.startswith("Unknown option _xxx")


async def test_a_traceparent_is_handed_to_the_worker_and_a_malformed_one_ignored(server):
    valid = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    async with server.worker("?task=t") as worker, server.api("producer") as api:
        for header, handed_over in ((valid, valid), (valid.upper(), None), (f"{valid}-x", None)):
            answer = await api.post("/tasks", json={"name": "t"}, headers={"traceparent": header})
            assert answer.status_code == 201
            (task,) = await receive(worker)
            assert task.get("traceparent") == handed_over


async def test_a_throttled_key_is_told_when_to_come_again(prepared, tmp_path):
    with started_copy(prepared, tmp_path, WORKQUEUE_THROTTLE="3/h") as server:
        async with server.api("producer") as api:
            answers = [await api.get("/tasks") for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert answers[-1].headers["Content-Type"] == "application/problem+json"
        assert 0 < int(answers[-1].headers["Retry-After"]) <= 1200


@pytest.mark.only_on("postgresql", reason="the embedded set-up is one process")
class TestOverSeveralProcesses:
    @pytest.fixture
    def two(self, prepared: Server, tmp_path: Path) -> Iterator[list[Server]]:
        with cluster(prepared, tmp_path, 2) as servers:
            yield servers

    async def test_the_sessions_of_all_end_and_the_tasks_are_done_once(self, two):
        first, second = two
        leaked = key(first, "leaked")
        async with (
            first.worker("?task=t", token=leaked, **V1) as here,
            second.worker("?task=t", token=leaked, **V1) as there,
        ):
            await receive(here)
            await receive(there)
            ids = await first.submit(*[{"name": "t", "max_attempts": 1}] * 10)
            await asyncio.gather(receive(here, 5), receive(there, 5))
            async with second.worker("?task=t") as heir:
                await asyncio.to_thread(second.manage, "revoke_api_key", "leaked")
                assert await end_of(here) == REVOKED
                assert await end_of(there) == REVOKED
                for task in await receive(heir, 10):
                    await finish(heir, task)
                await eventually(lambda: _succeeded(first, 10))
            assert sorted(task["id"] for task in await first.tasks(state="succeeded")) == sorted(ids)

    async def test_a_hand_in_the_database_is_noticed_by_the_process_that_has_the_session(self, two):
        first, second = two
        leaked = key(first, "leaked")
        async with second.worker("?task=t", token=leaked, **V1) as doomed:
            await receive(doomed)
            with closing(psycopg.connect(first.environment["DATABASE_URL"], autocommit=True)) as database:
                database.execute("UPDATE queueapp_apikey SET revoked_at = now() WHERE name = 'leaked'")
            assert await end_of(doomed) == REVOKED


async def _succeeded(server: Server, count: int) -> bool:
    return (await server.counts("t")).get("succeeded", 0) == count
