"""A body that is too large is refused before it has come, with a key and without."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from processes import PATIENCE_SECONDS, Server, started_copy

pytestmark = pytest.mark.only_on("sqlite", reason="what a process says and hears is the same on either database")

PART = b" " * 1000
LIMIT_BYTES = 50 * len(PART)
FAR_TOO_MANY = 10_000


class Sender:
    """Sends parts of a body and counts them."""

    def __init__(self, parts: int) -> None:
        self.parts, self.sent = parts, 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while self.sent < self.parts:
            self.sent += 1
            yield PART


@pytest.fixture
def strict_server(prepared: Server, tmp_path: Path):
    with started_copy(prepared, tmp_path, WORKQUEUE_BODY_LIMIT_BYTES=str(LIMIT_BYTES)) as server:
        yield server


@pytest.mark.parametrize("has_key", [True, False])
@pytest.mark.parametrize("path", ["/api/v1/tasks", "/admin/login/"])
async def test_a_body_in_parts_is_refused_at_the_limit(strict_server: Server, path: str, has_key: bool):
    key = {"Authorization": f"Bearer {strict_server.keys['producer']}"} if has_key else {}
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{strict_server.port}", timeout=PATIENCE_SECONDS
    ) as client:
        answer = await client.post(
            path, content=Sender(FAR_TOO_MANY), headers={"Content-Type": "application/json", **key}
        )
        assert (answer.status_code, answer.headers["Content-Type"]) == (413, "application/problem+json")
        assert str(LIMIT_BYTES) in answer.json()["detail"]
        assert (await client.get("/healthz")).status_code == 200


async def test_a_body_that_says_it_is_too_large_is_not_waited_for(strict_server: Server):
    """The answer comes although the body never does."""
    headers = f"POST /api/v1/tasks HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {LIMIT_BYTES + 1}\r\n\r\n"
    reader, writer = await asyncio.open_connection("127.0.0.1", strict_server.port)
    writer.write(headers.encode())
    async with asyncio.timeout(PATIENCE_SECONDS):
        status = await reader.readline()
    writer.close()
    assert b" 413 " in status


async def test_a_body_up_to_the_limit_is_taken(strict_server: Server):
    body = b'{"name": "large"}'.ljust(LIMIT_BYTES)
    async with strict_server.api("producer") as api:
        answer = await api.post("/tasks", content=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 201
        answer = await api.post("/tasks", content=body + b" ", headers={"Content-Type": "application/json"})
        assert answer.status_code == 413
