"""Events of a task, as real servers send them, until its result or their end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from processes import PATIENCE_SECONDS, Server, cluster, finish, receive


@pytest.fixture(params=[(), ("--daphne",)], ids=["uvicorn", "daphne"])
def either(server: Server, request: pytest.FixtureRequest) -> Server:
    """A server that runs on one or the other."""
    if request.param:
        server.terminate()
        server.options = request.param
        server.start()
    return server


class Stream:
    """The events that come, in their order."""

    def __init__(self, response: httpx.Response) -> None:
        assert response.headers["content-type"] == "text/event-stream"
        self._lines = response.aiter_lines()

    async def next(self) -> tuple[str, str]:
        """The next event and the state in its data."""
        fields: dict[str, str] = {}
        async for line in self._lines:
            if not line and fields:
                return fields["event"], json.loads(fields["data"])["state"]
            if line and not line.startswith(":"):
                name, _, value = line.partition(": ")
                fields[name] = value
        raise AssertionError("The stream has ended.")

    async def rest(self) -> list[str]:
        """The lines that come until it ends."""
        return [line async for line in self._lines]


@asynccontextmanager
async def following(server: Server, task_id: str) -> AsyncIterator[Stream]:
    async with (
        server.api("producer") as api,
        asyncio.timeout(PATIENCE_SECONDS),
        api.stream("GET", f"/tasks/{task_id}/events", headers={"Accept": "text/event-stream"}) as response,
    ):
        yield Stream(response)


async def test_tell_of_a_task_until_its_result(either: Server):
    (task_id,) = await either.submit({"name": "t"})
    async with following(either, task_id) as stream:
        assert await stream.next() == ("state", "pending")
        async with either.worker("?task=t") as worker:
            (task,) = await receive(worker)
            assert await stream.next() == ("state", "assigned")
            await finish(worker, task, "done")
            assert await stream.next() == ("state", "succeeded")
            assert await stream.next() == ("result", "succeeded")
        assert await stream.rest() == []


@pytest.mark.only_on("postgresql", reason="it takes several processes")
async def test_tell_of_a_task_that_ends_in_another_process(prepared: Server, tmp_path: Path):
    with cluster(prepared, tmp_path / "cluster", 2) as (first, second):
        (task_id,) = await first.submit({"name": "t"})
        async with following(first, task_id) as stream:
            assert await stream.next() == ("state", "pending")
            async with second.api("producer") as other:
                assert (await other.post(f"/tasks/{task_id}/cancel")).status_code == 200
            assert await stream.next() == ("state", "cancelled")
            assert await stream.next() == ("result", "cancelled")


async def test_end_with_the_server(either: Server):
    (task_id,) = await either.submit({"name": "t"})
    async with following(either, task_id) as stream:
        assert await stream.next() == ("state", "pending")
        ending = asyncio.create_task(asyncio.to_thread(either.terminate))
        assert await stream.rest() == []
        assert await ending == 0
