"""HTTP as the server process serves it: requests with a key pass by what serves browsers."""

from __future__ import annotations

import asyncio

import httpx
import pytest
from processes import PATIENCE_SECONDS, Server, eventually, finish, receive

pytestmark = pytest.mark.only_on("sqlite", reason="what a process says and hears is the same on either database")

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class TestARequestWithAKey:
    @pytest.mark.parametrize("path", ["/tasks", "/queues", "/nothing"])
    async def test_has_the_headers_that_all_have(self, server: Server, path: str):
        async with server.api("operator") as api:
            answer = await api.get(path)
        assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS

    async def test_to_another_host_is_refused(self, server: Server):
        async with server.api("producer") as api:
            answer = await api.get("/tasks", headers={"Host": "elsewhere.example"})
        assert (answer.status_code, answer.headers["Content-Type"]) == (400, "application/problem+json")

    async def test_that_is_wrong_is_refused_as_any(self, server: Server):
        async with httpx.AsyncClient(timeout=PATIENCE_SECONDS) as client:
            url = f"http://127.0.0.1:{server.port}/api/v1/tasks"
            answer = await client.get(url, headers={"Authorization": "Bearer wq_wrong"})
        assert (answer.status_code, answer.json()["status"]) == (401, 401)
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")

    async def test_whose_body_is_sent_in_chunks_is_read_to_its_end(self, server: Server):
        async def body():
            yield b'{"name": '
            yield b'"chunked"}'

        async with server.api("producer") as api:
            answer = await api.post("/tasks", content=body(), headers={"Content-Type": "application/json"})
        assert (answer.status_code, answer.json()["name"]) == (201, "chunked")

    async def test_that_waits_is_answered_when_the_task_is_done(self, server: Server):
        async with server.worker("?task=preferred") as worker, server.api("producer") as api:
            posting = asyncio.create_task(
                api.post("/tasks", json={"name": "preferred"}, headers={"Prefer": "wait=60"})
            )
            await finish(worker, (await receive(worker))[0], "done")
            answer = await posting
        assert (answer.status_code, answer.json()["result"]) == (201, "done")

    async def test_that_leaves_while_it_waits_is_not_waited_for(self, server: Server):
        """Many more than there are threads: one that kept its place would hold up the last."""
        (task_id,) = await server.submit({"name": "nobodys"})
        async with server.api("producer") as api:
            waiting = [asyncio.create_task(api.get(f"/tasks/{task_id}?wait=60")) for _ in range(40)]
            await asyncio.wait(waiting, timeout=0.5)
            for each in waiting:
                each.cancel()
        assert (await server.task(task_id))["state"] == "pending"


class TestARequestWithoutAKey:
    async def test_is_served_with_sessions(self, server: Server):
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{server.port}", timeout=PATIENCE_SECONDS
        ) as client:
            login = await client.get("/admin/login/")
            api = await client.get("/api/v1/tasks")
        assert (login.status_code, api.status_code) == (200, 401)
        assert "csrftoken" in login.cookies


async def test_the_server_answers_when_it_is_ready(server: Server):
    async def is_ready() -> bool:
        async with httpx.AsyncClient(timeout=PATIENCE_SECONDS) as client:
            return (await client.get(f"http://127.0.0.1:{server.port}/readyz")).status_code == 200

    await eventually(is_ready)
