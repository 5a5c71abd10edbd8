"""How long a handler has, how it shows that it lives, and what becomes of its place when it does not."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from clock import Clock
from holding import all_has_arrived, at_work, held_on_the_loop
from scripted_peer import Peer

from queueapp.sdk import Task, Worker


class TestAHandlerThatHangs:
    async def test_in_a_thread_is_told_at_its_timeout_and_its_place_serves_again(
        self, server: Peer, serve: Any, clock: Clock
    ) -> None:
        handler, attached, *_ = await at_work(server, serve, grace_seconds=5)
        clock.advance(301)
        assert await asyncio.to_thread(handler.tasks[0].wait_cancelled, 10)
        assert handler.tasks[0].reason == "timeout"
        await attached.give("t2", "quick")
        clock.advance(6)
        assert (await attached.hear())["task_id"] == "t2"
        handler.may_end.set()
        await attached.give("t3", "quick")
        assert (await attached.hear())["task_id"] == "t3", "what t1 came to in the end is for nobody"

    async def test_on_the_loop_is_cancelled_at_its_timeout(self, server: Peer, serve: Any, clock: Clock) -> None:
        worker, begun = held_on_the_loop()
        serve(worker)
        attached = await server.attached()
        await attached.give("t1", timeout=300)
        await begun.wait()
        await attached.give("t2", "quick")
        clock.advance(301)
        assert (await attached.hear())["task_id"] == "t2"

    async def test_on_the_loop_against_its_cancellation_loses_its_place_all_the_same(
        self, server: Peer, serve: Any, clock: Clock
    ) -> None:
        worker = Worker()
        begun, may_end = asyncio.Event(), asyncio.Event()

        @worker.task("tag")
        async def tag(task: Task) -> Any:
            while task.data != "quick" and not may_end.is_set():
                begun.set()
                with suppress(asyncio.CancelledError):
                    await may_end.wait()
            return "quick"

        serve(worker, grace_seconds=5)
        attached = await server.attached()
        await attached.give("t1", timeout=300)
        await begun.wait()
        clock.advance(301)
        while not worker._runner._running[("t1", 1)].task.cancelled:  # noqa: ASYNC110 - it is, at once
            await asyncio.sleep(0)
        await attached.give("t2", "quick")
        clock.advance(6)
        assert (await attached.hear())["task_id"] == "t2"
        may_end.set()


class TestAHandlerThatIsSlow:
    async def test_lives_as_long_as_it_reports(self, server: Peer, serve: Any, clock: Clock) -> None:
        worker = Worker()

        @worker.task("tag")
        def tag(task: Task) -> bool:
            for step in range(20):
                clock.advance(250)
                task.progress(step / 20)
            return task.cancelled

        serve(worker)
        attached = await server.attached()
        await attached.give("t1", timeout=300)
        heard = []
        while "result" not in (message := await attached.hear()):
            heard.append(message)
        assert message["data"] is False
        assert {each["kind"] for each in heard} == {"progress"}

    async def test_lives_as_long_as_it_asked_for(self, server: Peer, serve: Any, clock: Clock) -> None:
        handler, attached, *_ = await at_work(server, serve)
        handler.tasks[0].extend(5000)
        assert (await attached.hear())["seconds"] == 5000
        clock.advance(4900)
        # Its place is still its own: who is next waits, and is given back.
        await attached.give("t2", "quick", timeout=100)
        await all_has_arrived(attached)
        clock.advance(51)
        assert await attached.hear() == {"kind": "release", "task_id": "t2"}
        handler.may_end.set()
        assert (await attached.hear())["data"] == "finished"

    async def test_may_report_as_often_as_it_likes(self, server: Peer, serve: Any, clock: Clock) -> None:
        """The server hears the first word at once, the last one soon, and those between not at all."""
        handler, attached, *_ = await at_work(server, serve)
        for step in range(1000):
            handler.tasks[0].progress(step / 1000)
        assert (await attached.hear())["progress"] == 0.0
        clock.advance(1)
        assert (await attached.hear())["progress"] == 0.999

    async def test_has_its_signs_heard_in_their_order(self, server: Peer, serve: Any, clock: Clock) -> None:
        handler, attached, *_ = await at_work(server, serve)
        handler.tasks[0].progress(0.1)
        assert (await attached.hear())["progress"] == 0.1
        handler.tasks[0].progress(0.2)
        handler.tasks[0].extend(1000)
        assert (await attached.hear())["progress"] == 0.2
        assert (await attached.hear())["seconds"] == 1000


class TestATaskThatWaitsHere:
    async def test_is_given_back_while_there_is_time_for_others(
        self, server: Peer, serve: Any, clock: Clock
    ) -> None:
        _, attached, *_ = await at_work(server, serve, "t2")
        await all_has_arrived(attached)
        clock.advance(151)
        assert await attached.hear() == {"kind": "release", "task_id": "t2"}

    async def test_has_its_whole_time_once_it_begins(self, server: Peer, serve: Any, clock: Clock) -> None:
        handler, attached, *_ = await at_work(server, serve, "t2")
        await all_has_arrived(attached)
        clock.advance(100)
        handler.may_end.set()
        heard = {each.get("kind", "result"): each for each in [await attached.hear() for _ in range(2)]}
        assert heard["result"]["task_id"] == "t1"
        assert heard["extend"] == {"kind": "extend", "task_id": "t2", "seconds": 300}
