"""Handlers that nothing ends: how many of them a worker bears, and how it leaves."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from clock import Clock
from holding import held
from scripted_peer import Attached, Peer

from queueapp.sdk import HandlersHang


async def hang(attached: Attached, handler: Any, clock: Clock, *task_ids: str) -> None:
    """Have the tasks begin, time out, and lose their places."""
    for task_id in task_ids:
        await attached.give(task_id, timeout=300)
        await handler.wait_begun()
    clock.advance(301)
    for task in handler.tasks[-len(task_ids) :]:
        assert await asyncio.to_thread(task.wait_cancelled, 10)
    clock.advance(6)


class TestAsManyAsTheLimit:
    async def test_make_the_worker_drain_and_leave(
        self, server: Peer, serve: Any, clock: Clock, caplog: Any
    ) -> None:
        worker, handler = held()
        serving = serve(worker, concurrency=3, max_outstanding=4, hanging_limit=2)
        attached = await server.attached()
        await hang(attached, handler, clock, "t1", "t2")
        assert await attached.hear() == {"kind": "drain"}
        await attached.give("t3")
        assert await attached.hear() == {"kind": "release", "task_id": "t3"}
        await attached.say(kind="drain", reason="Confirmed.")
        assert await attached.closed() == 1000
        with pytest.raises(HandlersHang, match=r"Handlers hang \(2\)"):
            await serving
        assert [each.message for each in caplog.records if each.levelno == logging.ERROR][-1].startswith(
            "Handlers hang (2): this worker takes no more tasks"
        )
        handler.may_end.set()

    async def test_let_what_runs_beside_them_finish(self, server: Peer, serve: Any, clock: Clock) -> None:
        worker, handler = held()
        serving = serve(worker, concurrency=2, hanging_limit=1)
        attached = await server.attached()
        await attached.give("slow", timeout=9999)
        await handler.wait_begun()
        await hang(attached, handler, clock, "t1")
        assert await attached.hear() == {"kind": "drain"}
        await attached.say(kind="drain", reason="Confirmed.")
        handler.may_end.set()
        result = await attached.hear()
        assert (result["task_id"], result["data"]) == ("slow", "finished")
        await attached.acknowledge(result)
        with pytest.raises(HandlersHang):
            await serving


async def test_fewer_than_the_limit_change_nothing(server: Peer, serve: Any, clock: Clock) -> None:
    worker, handler = held()
    serving = serve(worker, hanging_limit=2)
    attached = await server.attached()
    for task_id in ("t1", "t2", "t3"):
        await hang(attached, handler, clock, task_id)
        await attached.give(f"after {task_id}", "quick")
        assert (await attached.hear())["task_id"] == f"after {task_id}"
        # One that has ended after all is none of them.
        handler.may_end.set()
        while worker.hangs:  # noqa: ASYNC110 - the thread ends
            await asyncio.sleep(0)
        handler.may_end.clear()
    assert not serving.done()
