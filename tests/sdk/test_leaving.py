"""How a worker leaves: when it is told to drain or to stop, and when all that it came for is done."""

from __future__ import annotations

import asyncio
from typing import Any

from clock import Clock
from holding import at_work, echo, held
from scripted_peer import PATIENCE_SECONDS, Peer

from queueapp.sdk import ReconnectBackoff


class TestDrain:
    async def test_gives_back_what_has_not_begun_and_finishes_what_runs(self, server: Peer, serve: Any) -> None:
        handler, attached, worker, serving = await at_work(server, serve, "t2")
        worker.drain()
        assert await attached.hear() == {"kind": "drain"}
        assert await attached.hear() == {"kind": "release", "task_id": "t2"}
        await attached.give("t3")
        assert await attached.hear() == {"kind": "release", "task_id": "t3"}
        await attached.say(kind="drain", reason="Confirmed.")
        handler.may_end.set()
        result = await attached.hear()
        assert result["data"] == "finished"
        assert not serving.done(), "the result is not acknowledged yet"
        await attached.acknowledge(result)
        assert await attached.closed() == 1000
        await serving

    async def test_at_the_server_s_wish_ends_the_worker(self, server: Peer, serve: Any) -> None:
        serving = serve(echo())
        attached = await server.attached()
        await attached.say(kind="drain", reason="Asked to finish and leave.")
        assert await attached.hear() == {"kind": "drain"}
        assert await attached.closed() == 1000
        await serving

    async def test_for_a_restart_makes_it_come_again(self, server: Peer, serve: Any) -> None:
        serve(echo())
        attached = await server.attached()
        await attached.say(kind="drain", reason="The server restarts.")
        assert await attached.closed() == 1000
        await server.attached()

    async def test_ends_the_wait_for_a_reconnect(self, server: Peer, serve: Any) -> None:
        worker = echo()
        paused = asyncio.Event()

        def whole() -> float:
            paused.set()
            return 1.0

        serving = serve(worker, backoff=ReconnectBackoff(initial_seconds=3600, max_seconds=3600, jitter=whole))
        await (await server.attached()).socket.close()
        await paused.wait()
        worker.drain()
        async with asyncio.timeout(PATIENCE_SECONDS):
            await serving


class TestStopping:
    async def test_gives_back_what_runs_and_waits_for_no_handler(self, server: Peer, serve: Any) -> None:
        handler, attached, worker, serving = await at_work(server, serve, "t2")
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
        _, attached, worker, serving = await at_work(server, serve, drain_timeout=20)
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
