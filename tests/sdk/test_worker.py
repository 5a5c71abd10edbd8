"""A worker against a scripted server: what it registers, and what becomes of a task that is cancelled."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from holding import at_work, echo
from scripted_peer import PATIENCE_SECONDS, Peer

from queueapp.protocol import SUBPROTOCOL
from queueapp.sdk import Task, Worker
from queueapp.sdk.handlers import Criteria


class TestRegistration:
    async def test_names_every_handler_with_its_filter(self, server: Peer, serve: Any) -> None:
        worker = Worker()
        worker.task("tag", cloud=["gcp", "aws"])(lambda task: None)
        worker.task("tag", {"cost-centre": "a,b"})(lambda task: None)
        worker.task("collect")(lambda task: None)
        serve(worker, name="tagger 1", max_outstanding=7)
        attached = await server.attached()
        assert attached.registration == [
            {"name": "tag", "filter": {"cloud": ["aws", "gcp"]}},
            {"name": "tag", "filter": {"cost-centre": ["a,b"]}},
            {"name": "collect", "filter": {}},
        ]
        assert attached.socket.subprotocol == SUBPROTOCOL
        assert attached.headers["Authorization"] == "Bearer wq_secret"
        path, _, query = attached.path.partition("?")
        assert path == "/work/queue"
        assert query == "_max_outstanding=7&_batch=1&_version=workqueue-sdk%2F0.1&_name=tagger+1"

    def test_refuses_what_the_server_would_refuse(self) -> None:
        worker = echo()
        unusable: list[tuple[str, Criteria]] = [
            ("no spaces", {}),
            ("tag", {"cloud": ""}),
            ("tag", {"cloud": []}),
            ("tag", {}),
        ]
        for name, criteria in unusable:
            with pytest.raises(ValueError, match=r"task name|empty|already"):
                worker.task(name, criteria)(lambda task: None)

    async def test_needs_a_handler_and_a_server(self) -> None:
        with pytest.raises(ValueError, match="no handlers"):
            await Worker().serve("ws://127.0.0.1", "wq_secret")
        with pytest.raises(ValueError, match="is no server"):
            await echo().serve("127.0.0.1:8000", "wq_secret")


class TestCancel:
    async def test_a_task_that_has_not_begun_is_dropped(self, server: Peer, serve: Any) -> None:
        handler, attached, *_ = await at_work(server, serve, "t2")
        await attached.say(kind="cancel", task_id="t2", attempt=1, reason="cancelled")
        await attached.give("t3")
        handler.may_end.set()
        assert (await attached.hear())["task_id"] == "t1"
        assert (await attached.hear())["task_id"] == "t3"

    async def test_a_sync_handler_is_told_and_its_result_is_dropped(self, server: Peer, serve: Any) -> None:
        worker = Worker()
        begun = threading.Event()

        @worker.task("tag")
        def tag(task: Task) -> str:
            begun.set()
            assert task.data == "second" or task.wait_cancelled(PATIENCE_SECONDS)
            return "cancelled" if task.cancelled else "not cancelled"

        serve(worker)
        attached = await server.attached()
        await attached.give("t1")
        await asyncio.to_thread(begun.wait, PATIENCE_SECONDS)
        await attached.say(kind="cancel", task_id="t1", attempt=1, reason="timeout")
        await attached.give("t2", "second")
        assert await attached.hear() == {
            "task_id": "t2",
            "attempt": 1,
            "result": "done",
            "data": "not cancelled",
        }

    async def test_an_async_handler_is_cancelled(self, server: Peer, serve: Any) -> None:
        worker = Worker()
        begun, cancelled = asyncio.Event(), asyncio.Event()

        @worker.task("tag")
        async def tag(task: Task) -> None:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()

        serve(worker)
        attached = await server.attached()
        await attached.give("t1")
        await begun.wait()
        await attached.say(kind="cancel", task_id="t1", attempt=1, reason="cancelled")
        async with asyncio.timeout(PATIENCE_SECONDS):
            await cancelled.wait()
