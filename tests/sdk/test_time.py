"""How long a handler has, how it shows that it lives, and what becomes of its place when it does not."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import Any

from clock import Clock
from holding import Held, held
from scripted_peer import Attached, Peer

from queueapp.sdk import Task, Worker


async def all_has_arrived(attached: Attached) -> None:
    """Nobody performs this one, which is said at once."""
    await attached.give("nobody's", task_name="other")
    assert (await attached.hear())["task_id"] == "nobody's"


async def at_work(server: Peer, serve: Any, **options: Any) -> tuple[Held, Attached]:
    """A handler that has begun with the task t1, which has 300 seconds."""
    worker, handler = held()
    serve(worker, **options)
    attached = await server.attached()
    await attached.give("t1", timeout=300)
    await handler.wait_begun()
    return handler, attached


class TestAHandlerThatHangs:
    async def test_in_a_thread_is_told_at_its_timeout_and_its_place_serves_again(
        self, server: Peer, serve: Any, clock: Clock
    ) -> None:
        handler, attached = await at_work(server, serve, grace_seconds=5)
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
        worker = Worker()
        begun = asyncio.Event()

        @worker.task("tag")
        async def tag(task: Task) -> Any:
            if task.data == "quick":
                return "quick"
            begun.set()
            return await asyncio.Event().wait()

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
        handler, attached = await at_work(server, serve)
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
        handler, attached = await at_work(server, serve)
        for step in range(1000):
            handler.tasks[0].progress(step / 1000)
        assert (await attached.hear())["progress"] == 0.0
        clock.advance(1)
        assert (await attached.hear())["progress"] == 0.999

    async def test_has_its_signs_heard_in_their_order(self, server: Peer, serve: Any, clock: Clock) -> None:
        handler, attached = await at_work(server, serve)
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
        _, attached = await at_work(server, serve)
        await attached.give("t2", timeout=300)
        await all_has_arrived(attached)
        clock.advance(151)
        assert await attached.hear() == {"kind": "release", "task_id": "t2"}

    async def test_has_its_whole_time_once_it_begins(self, server: Peer, serve: Any, clock: Clock) -> None:
        handler, attached = await at_work(server, serve)
        await attached.give("t2", timeout=300)
        await all_has_arrived(attached)
        clock.advance(100)
        handler.may_end.set()
        heard = {each.get("kind", "result"): each for each in [await attached.hear() for _ in range(2)]}
        assert heard["result"]["task_id"] == "t1"
        assert heard["extend"] == {"kind": "extend", "task_id": "t2", "seconds": 300}


class TestALostConnection:
    async def test_cancels_what_runs_on_the_loop(self, server: Peer, serve: Any) -> None:
        worker = Worker()
        begun = asyncio.Event()

        @worker.task("tag")
        async def tag(task: Task) -> Any:
            if task.data == "quick":
                return "quick"
            begun.set()
            return await asyncio.Event().wait()

        serve(worker)
        first = await server.attached()
        await first.give("t1")
        await begun.wait()
        first.socket.transport.abort()
        second = await server.attached()
        await second.give("t2", "quick")
        assert (await second.hear())["task_id"] == "t2"

    async def test_tells_what_runs_in_a_thread_whose_place_is_its_own_until_its_timeout(
        self, server: Peer, serve: Any, clock: Clock
    ) -> None:
        handler, first = await at_work(server, serve, grace_seconds=0)
        first.socket.transport.abort()
        assert await asyncio.to_thread(handler.tasks[0].wait_cancelled, 10)
        assert handler.tasks[0].reason == "lost"
        second = await server.attached()
        await second.give("t2", "quick", timeout=100)
        await all_has_arrived(second)
        clock.advance(51)
        assert await second.hear() == {"kind": "release", "task_id": "t2"}
        await second.give("t4", "quick", timeout=9999)
        clock.advance(250)
        assert (await second.hear())["task_id"] == "t4"

    async def test_is_known_to_a_process_that_was_frozen_with_its_first_step(
        self, server: Peer, serve: Any, clock: Clock
    ) -> None:
        server.heartbeat_seconds = 10.0
        worker = Worker()
        reasons: list[str | None] = []
        ended = threading.Event()

        @worker.task("tag")
        def tag(task: Task) -> None:
            reasons.append(task.reason)
            clock.advance(9.5)
            reasons.append(task.reason)
            ended.set()

        serve(worker)
        await (await server.attached()).give("t1")
        await server.attached()
        assert await asyncio.to_thread(ended.wait, 10)
        assert reasons == [None, "lost"]

    async def test_is_one_too_if_the_only_task_ended_before_the_connection_was_found_to_be_silent(
        self, server: Peer, serve: Any, clock: Clock
    ) -> None:
        server.heartbeat_seconds = 10.0
        worker = Worker()

        @worker.task("tag")
        async def tag(task: Task) -> None:
            clock.advance(9.5)

        serve(worker)
        await (await server.attached()).give("t1")
        # Nobody hears of its result: if it stayed, the server would wait for that until the task times out.
        await server.attached()

    async def test_is_what_a_server_is_taken_for_that_gives_no_sign_of_life(
        self, server: Peer, serve: Any, clock: Clock
    ) -> None:
        server.heartbeat_seconds = 10.0
        worker, handler = held()
        serve(worker)
        first = await server.attached()
        await first.give("t1")
        await handler.wait_begun()
        first.socket.transport.pause_reading()
        while worker.tally.is_attached:
            clock.advance(1)
            await asyncio.sleep(0)
        assert await asyncio.to_thread(handler.tasks[0].wait_cancelled, 10)
        await server.attached()
        first.socket.transport.abort()

    async def test_is_not_what_one_is_taken_for_that_answers(self, server: Peer, serve: Any, clock: Clock) -> None:
        server.heartbeat_seconds = 10.0
        worker, handler = held()
        serve(worker)
        attached = await server.attached()
        await attached.give("t1")
        await handler.wait_begun()
        assert worker._connection is not None
        session = worker._connection._session
        assert session is not None
        for _ in range(20):
            clock.advance(3.01)
            while session._lease.remaining_seconds < 6:  # noqa: ASYNC110 - the peer answers
                await asyncio.sleep(0)
        assert handler.tasks[0].reason is None
        handler.may_end.set()
        assert (await attached.hear())["data"] == "finished"


class TestStopping:
    async def test_gives_back_what_runs_and_waits_for_no_handler(self, server: Peer, serve: Any) -> None:
        worker, handler = held()
        serving = serve(worker)
        attached = await server.attached()
        await attached.give("t1")
        await attached.give("t2")
        await handler.wait_begun()
        worker.stop()
        assert await attached.hear() == {"kind": "drain"}
        assert {(await attached.hear())["task_id"] for _ in range(2)} == {"t1", "t2"}
        assert handler.tasks[0].reason == "stopped"
        await attached.say(kind="drain", reason="Confirmed.")
        assert await attached.closed() == 1000
        await serving

    async def test_is_what_a_drain_comes_to_that_takes_too_long(
        self, server: Peer, serve: Any, clock: Clock
    ) -> None:
        worker, handler = held()
        serving = serve(worker, drain_timeout=20)
        attached = await server.attached()
        await attached.give("t1")
        await handler.wait_begun()
        worker.drain()
        assert await attached.hear() == {"kind": "drain"}
        await attached.say(kind="drain", reason="Confirmed.")
        clock.advance(21)
        assert await attached.hear() == {"kind": "release", "task_id": "t1"}
        assert await attached.closed() == 1000
        await serving
        assert worker.tally.unfinished == 1


async def test_a_worker_for_one_task_leaves_when_its_result_is_durable(server: Peer, serve: Any) -> None:
    worker, handler = held()
    handler.may_end.set()
    serving = serve(worker, once=True)
    attached = await server.attached()
    assert "_max_outstanding=1&" in attached.path
    await attached.give("t1")
    result = await attached.hear()
    await attached.acknowledge(result)
    assert await attached.hear() == {"kind": "drain"}
    await attached.give("t2")
    assert await attached.hear() == {"kind": "release", "task_id": "t2"}
    await attached.say(kind="drain", reason="Confirmed.")
    assert await attached.closed() == 1000
    await serving
