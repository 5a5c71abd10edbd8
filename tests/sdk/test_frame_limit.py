"""Frames that are larger than the server takes, also where the worker learns only then how much it takes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
from scripted_peer import PATIENCE_SECONDS, Peer, peer, task
from websockets.exceptions import ConnectionClosed

from queueapp.sdk import Refused, Reject, Task, Worker

LIMIT_BYTES = 2000


@pytest.fixture
async def server() -> AsyncIterator[Peer]:
    """Takes smaller frames than workers think."""
    async with peer(frame_limit_bytes=LIMIT_BYTES) as running:
        yield running


def as_long_as_asked() -> Worker:
    worker = Worker()
    worker.task("tag")(lambda task: "x" * task.data)
    return worker


class TestAResultThatTheServerDoesNotTake:
    async def test_is_an_error_that_says_so_when_the_task_comes_again(self, server: Peer, serve: Any) -> None:
        serve(as_long_as_asked())
        first = await server.attached()
        await first.give("t1", LIMIT_BYTES)
        await first.closed()
        second = await server.attached()
        await second.give("t1", LIMIT_BYTES, attempt=2)
        answer = await second.hear()
        assert (answer["result"], answer["attempt"], answer["retry"]) == ("error", 2, False)
        assert "too large to send" in answer["error"]

    async def test_ends_the_connection_once(self, server: Peer, serve: Any) -> None:
        serve(as_long_as_asked())
        first = await server.attached()
        await first.give("t1", 2 * LIMIT_BYTES)
        await first.closed()
        second = await server.attached()
        for number, length in enumerate([3 * LIMIT_BYTES, 2 * LIMIT_BYTES, 10]):
            await second.give(f"u{number}", length)
            assert (await second.hear())["result"] == ("done" if length == 10 else "error")

    async def test_is_known_by_its_size_alone(self, server: Peer, serve: Any) -> None:
        serve(as_long_as_asked())
        first = await server.attached()
        await first.give("t1", 10 * LIMIT_BYTES)
        await first.closed()
        second = await server.attached()
        await second.give("t2", LIMIT_BYTES // 2)
        assert len((await second.hear())["data"]) == LIMIT_BYTES // 2


async def test_results_that_are_too_large_together_are_sent_apart(server: Peer, serve: Any) -> None:
    serve(as_long_as_asked(), concurrency=8, max_outstanding=8)
    lengths = [LIMIT_BYTES // 4] * 8
    given = json.dumps([task(f"t{number}", length) for number, length in enumerate(lengths)])
    # Each time it sends half as much at once, at the most.
    for _ in range(4):
        attached = await server.attached()
        await attached.socket.send(given)
        with suppress(ConnectionClosed):
            assert [(await attached.hear())["result"] for _ in lengths] == ["done"] * len(lengths)
            return
    raise AssertionError("They were never sent apart.")


@pytest.mark.parametrize("failure", [Reject("no", "x" * 5000), ValueError("x" * 5000)])
async def test_an_error_is_cut_to_what_the_server_takes(server: Peer, serve: Any, failure: Exception) -> None:
    worker = Worker()

    @worker.task("tag")
    def tag(task: Task) -> None:
        raise failure

    serve(worker, frame_limit_bytes=LIMIT_BYTES)
    attached = await server.attached()
    await attached.give("t1")
    answer = await attached.hear()
    assert (answer["task_id"], answer["result"]) == ("t1", "error")
    assert answer["error"].startswith(("no", "ValueError: xxx"))
    assert answer["details"] == "The details are too large to send."


async def test_a_registration_that_the_server_does_not_take_ends_the_worker(server: Peer, serve: Any) -> None:
    worker = as_long_as_asked()
    worker.task("tag", cloud=[f"region {number}" for number in range(LIMIT_BYTES // 5)])(lambda task: None)
    async with asyncio.timeout(PATIENCE_SECONDS):
        with pytest.raises(Refused, match=r"\(1009\): .*registration"):
            await serve(worker)
