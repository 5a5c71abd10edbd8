"""What becomes of the tasks when a connection is lost, and how a worker comes again after the end of one."""

from __future__ import annotations

import asyncio
import threading
from http import HTTPStatus
from typing import Any

import pytest
from clock import Clock
from holding import all_has_arrived, at_work, echo, held, held_on_the_loop
from scripted_peer import PATIENCE_SECONDS, Peer, peer

from queueapp.protocol import FATAL_CLOSE_CODES
from queueapp.sdk import ReconnectBackoff, Refused, Task, Worker


class TestALostConnection:
    async def test_cancels_what_runs_on_the_loop(self, server: Peer, serve: Any) -> None:
        worker, begun = held_on_the_loop()
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
        handler, first, *_ = await at_work(server, serve, grace_seconds=0)
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
        handler, first, worker, _ = await at_work(server, serve)
        first.socket.transport.pause_reading()
        while worker.tally.is_attached:
            clock.advance(1)
            await asyncio.sleep(0)
        assert await asyncio.to_thread(handler.tasks[0].wait_cancelled, 10)
        await server.attached()
        first.socket.transport.abort()

    async def test_is_not_what_one_is_taken_for_that_answers(self, server: Peer, serve: Any, clock: Clock) -> None:
        server.heartbeat_seconds = 10.0
        handler, attached, worker, _ = await at_work(server, serve)
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


class TestReconnect:
    async def test_runs_the_same_attempt_again_only_when_its_first_run_has_ended(
        self, server: Peer, serve: Any
    ) -> None:
        """Guard: `Runner._next_waiting`. The end of the first was taken for that of the second."""
        worker, handler = held()
        serve(worker, concurrency=2)
        first = await server.attached()
        await first.give("t1")
        await handler.wait_begun()
        await first.socket.close(1012)
        second = await server.attached()
        await second.give("t1")
        await second.give("t2")
        await handler.wait_begun()
        handler.may_end.set()
        told = [await second.hear(), await second.hear()]
        assert sorted(message["task_id"] for message in told) == ["t1", "t2"]
        assert [task.id for task in handler.tasks] == ["t1", "t2", "t1"]

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
        async with asyncio.timeout(PATIENCE_SECONDS):
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
