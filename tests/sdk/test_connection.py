"""How a worker leaves, and how it comes again after the end of a connection."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Any

import pytest
from holding import echo, held
from scripted_peer import Peer, peer

from queueapp.protocol import FATAL_CLOSE_CODES
from queueapp.sdk import ReconnectBackoff, Refused


class TestDrain:
    async def test_gives_back_what_has_not_begun_and_finishes_what_runs(self, server: Peer, serve: Any) -> None:
        worker, handler = held()
        serving = serve(worker)
        attached = await server.attached()
        await attached.give("t1")
        await attached.give("t2")
        await handler.wait_begun()
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
        async with asyncio.timeout(5):
            await serving


class TestReconnect:
    async def test_wipes_the_local_queue_and_drops_the_results_of_what_ran(self, server: Peer, serve: Any) -> None:
        worker, handler = held()
        serve(worker)
        first = await server.attached()
        await first.give("runs")
        await first.give("waits")
        await handler.wait_begun()
        await first.socket.close(1012)
        second = await server.attached()
        assert second.registration == first.registration
        await second.give("fresh")
        handler.may_end.set()
        answer = await second.hear()
        assert answer["task_id"] == "fresh"
        assert [task.id for task in handler.tasks] == ["runs", "fresh"]

    @pytest.mark.parametrize("code", [1000, 1001, 1009, 1012, 4408, 4429])
    async def test_follows_every_close_code_that_is_not_final(self, server: Peer, serve: Any, code: int) -> None:
        serve(echo())
        await (await server.attached()).socket.close(code)
        await server.attached()

    async def test_follows_a_connection_that_breaks(self, server: Peer, serve: Any) -> None:
        serve(echo())
        (await server.attached()).socket.transport.abort()
        await server.attached()

    async def test_keeps_trying_while_the_server_is_away(self) -> None:
        async with peer() as lost:
            url = lost.url
        attempts: list[float] = []
        enough = asyncio.Event()

        def jitter() -> float:
            attempts.append(1)
            if len(attempts) == 3:
                enough.set()
            return 0.0

        serving = asyncio.create_task(echo().serve(url, "wq_x", backoff=ReconnectBackoff(jitter=jitter)))
        async with asyncio.timeout(5):
            await enough.wait()
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)

    @pytest.mark.parametrize("code", sorted(FATAL_CLOSE_CODES))
    async def test_ends_at_a_fatal_close_code_with_the_server_s_reason(
        self, server: Peer, serve: Any, code: int
    ) -> None:
        serving = serve(echo())
        await (await server.attached()).socket.close(code, "Because.")
        with pytest.raises(Refused, match=rf"\({int(code)}\): Because\."):
            await serving

    @pytest.mark.parametrize("status", [HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN])
    async def test_ends_when_the_handshake_is_refused(self, status: HTTPStatus) -> None:
        async with peer(refuse_with=status) as refusing:
            with pytest.raises(Refused, match=str(status.value)):
                await echo().serve(refusing.url, "wq_wrong")


class TestBackoff:
    def test_doubles_up_to_its_maximum_and_is_jittered_in_full(self) -> None:
        whole = ReconnectBackoff(initial_seconds=1, factor=2, max_seconds=10, jitter=lambda: 1.0)
        assert [whole.delay_seconds(failures) for failures in (0, 1, 2, 3, 4, 10_000)] == [1, 2, 4, 8, 10, 10]
        none = ReconnectBackoff(jitter=lambda: 0.0)
        assert none.delay_seconds(5) == 0

    @pytest.mark.parametrize(("stable_seconds", "counted"), [(3600, [0, 1, 2]), (0, [0, 0, 0])])
    async def test_grows_while_connections_do_not_last_and_starts_anew_after_one_that_did(
        self, server: Peer, serve: Any, stable_seconds: float, counted: list[int]
    ) -> None:
        failures_counted: list[int] = []

        class Recording(ReconnectBackoff):
            def delay_seconds(self, failures: int) -> float:
                failures_counted.append(failures)
                return 0.0

        serve(echo(), backoff=Recording(stable_seconds=stable_seconds))
        for _ in counted:
            await (await server.attached()).socket.close()
        await server.attached()
        assert failures_counted == counted
