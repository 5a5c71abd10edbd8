"""A worker against a scripted server: what it says, in which order, and when it stops."""

from __future__ import annotations

import asyncio
import json
import threading
from http import HTTPStatus
from typing import Any

import pytest
from scripted_peer import Peer, peer, task

from queueapp.protocol import FATAL_CLOSE_CODES, SUBPROTOCOL
from queueapp.sdk import ReconnectBackoff, Refused, Reject, Retry, Task, Worker
from queueapp.sdk.handlers import Criteria


def echo() -> Worker:
    worker = Worker()

    @worker.task("tag")
    def tag(task: Task) -> Any:
        return task.data

    return worker


class Gate:
    """A sync handler that says when it has begun and waits until it may end."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.may_end = threading.Event()
        self.tasks: list[Task] = []

    def __call__(self, task: Task) -> str:
        self.tasks.append(task)
        self.begun.release()
        assert self.may_end.wait(5)
        return "finished"

    async def wait_begun(self) -> None:
        assert await asyncio.to_thread(self.begun.acquire, timeout=5)


def gated() -> tuple[Worker, Gate]:
    worker, gate = Worker(), Gate()
    worker.task("tag")(gate)
    return worker, gate


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


class TestResults:
    async def test_a_sync_handler_gets_the_task_and_its_return_value_is_the_result(
        self, server: Peer, serve: Any
    ) -> None:
        worker = Worker()
        seen: list[Task] = []

        @worker.task("tag", cloud="aws")
        def tag(task: Task) -> dict[str, Any]:
            seen.append(task)
            assert threading.current_thread() is not threading.main_thread()
            return {"was": task.data}

        serve(worker)
        attached = await server.attached()
        await attached.give("t1", {"n": [1, 2]}, attempt=3, traceparent="00-1-2-01")
        expected = {"task_id": "t1", "attempt": 3, "result": "done", "data": {"was": {"n": [1, 2]}}}
        assert await attached.hear() == expected
        [task] = seen
        assert (task.id, task.name, task.attrs, task.attempt) == ("t1", "tag", {"cloud": "aws"}, 3)
        assert task.deadline.isoformat() == "2030-01-01T00:05:00+00:00"
        assert task.timeout_seconds == 300
        assert task.traceparent == "00-1-2-01"

    async def test_an_async_handler_runs_on_the_loop_and_may_report_progress(
        self, server: Peer, serve: Any
    ) -> None:
        worker = Worker()

        @worker.task("tag")
        async def tag(task: Task) -> str:
            assert threading.current_thread() is threading.main_thread()
            task.progress(0.5, "half")
            task.extend(60)
            await asyncio.sleep(0)
            return "done"

        serve(worker)
        attached = await server.attached()
        await attached.give("t1")
        half = {"kind": "progress", "task_id": "t1", "progress": 0.5, "message": "half"}
        assert await attached.hear() == half
        assert await attached.hear() == {"kind": "extend", "task_id": "t1", "seconds": 60}
        assert (await attached.hear())["data"] == "done"

    async def test_progress_from_a_thread_comes_before_the_result(self, server: Peer, serve: Any) -> None:
        worker = Worker()
        worker.task("tag")(lambda task: task.progress(1))
        serve(worker)
        attached = await server.attached()
        await attached.give("t1")
        assert (await attached.hear())["kind"] == "progress"
        assert (await attached.hear())["result"] == "done"

    async def test_the_handler_with_the_most_specific_filter_is_used(self, server: Peer, serve: Any) -> None:
        worker = Worker()
        worker.task("tag")(lambda task: "any")
        worker.task("tag", cloud=["aws"], account=["123"])(lambda task: "aws 123")
        worker.task("tag", cloud=["aws"])(lambda task: "aws")
        serve(worker, concurrency=3)
        attached = await server.attached()
        await attached.give("t1", attrs={"cloud": "aws", "account": "123"})
        assert (await attached.hear())["data"] == "aws 123"

    async def test_a_task_without_a_handler_goes_back_as_an_error(self, server: Peer, serve: Any) -> None:
        serve(echo())
        attached = await server.attached()
        await attached.give("t1", task_name="collect")
        answer = await attached.hear()
        assert answer["result"] == "error"
        assert answer["retry"] is True
        assert "no handler for collect" in answer["error"]

    async def test_is_sent_again_until_it_is_acknowledged(self, server: Peer, serve: Any) -> None:
        serve(echo(), resend_seconds=0.01)
        attached = await server.attached()
        await attached.give("t1", "x")
        first = await attached.hear()
        assert await attached.hear() == first
        assert await attached.hear() == first
        await attached.acknowledge(first)
        # Whatever was under way when the acknowledgement came is over when the second task's result is here.
        await attached.give("t2", "y")
        while (answer := await attached.hear()) == first:
            pass
        assert answer["task_id"] == "t2"
        assert (await attached.hear())["task_id"] == "t2"

    async def test_a_task_that_is_given_twice_runs_once(self, server: Peer, serve: Any) -> None:
        worker, gate = gated()
        serve(worker, concurrency=2)
        attached = await server.attached()
        await attached.give("t1")
        await attached.give("t1")
        await attached.give("t2")
        await gate.wait_begun()
        await gate.wait_begun()
        gate.may_end.set()
        assert {(await attached.hear())["task_id"] for _ in range(2)} == {"t1", "t2"}
        assert len(gate.tasks) == 2

    async def test_what_it_does_not_understand_is_passed_over(self, server: Peer, serve: Any) -> None:
        serve(echo())
        attached = await server.attached()
        await attached.socket.send('[{"kind":"news","from":"the future"}]')
        await attached.socket.send("{not json")
        await attached.socket.send("[not json")
        await attached.say(kind="error", code="invalid", message="What was that?")
        await attached.give("t1", "x")
        assert (await attached.hear())["data"] == "x"


class TestErrors:
    @pytest.mark.parametrize(("verdict", "retry"), [(Retry, True), (Reject, False)])
    async def test_retry_and_reject_say_whether_to_try_again(
        self, server: Peer, serve: Any, verdict: type[Retry | Reject], retry: bool
    ) -> None:
        worker = Worker()

        @worker.task("tag")
        def tag(task: Task) -> None:
            raise verdict("quota", {"limit": 50})

        serve(worker)
        attached = await server.attached()
        await attached.give("t1")
        assert await attached.hear() == {
            "task_id": "t1",
            "attempt": 1,
            "result": "error",
            "error": "quota",
            "retry": retry,
            "details": {"limit": 50},
        }

    @pytest.mark.parametrize(
        ("failure", "text"),
        [
            (KeyError("region"), "KeyError: 'region'"),
            (SystemExit(3), "SystemExit: 3"),
            (StopIteration(), "StopIteration"),
        ],
    )
    async def test_an_exception_is_told_with_its_last_line_and_the_traceback(
        self, server: Peer, serve: Any, failure: BaseException, text: str
    ) -> None:
        worker = Worker()

        @worker.task("tag")
        def tag(task: Task) -> None:
            raise failure

        serve(worker)
        attached = await server.attached()
        await attached.give("t1")
        answer = await attached.hear()
        assert answer["error"] == text
        assert "retry" not in answer
        assert answer["details"]["traceback"].startswith("Traceback")
        assert "raise failure" in answer["details"]["traceback"]

    async def test_an_async_handler_whose_inner_task_was_cancelled_has_failed(
        self, server: Peer, serve: Any
    ) -> None:
        worker = Worker()

        @worker.task("tag")
        async def tag(task: Task) -> None:
            raise asyncio.CancelledError

        serve(worker)
        attached = await server.attached()
        await attached.give("t1")
        assert (await attached.hear())["error"].startswith("asyncio.exceptions.CancelledError")

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            ({1, 2}, "not JSON serializable"),
            (float("nan"), "not JSON compliant"),
            ("\x00", "NUL"),
            ("\ud800", "surrogates"),
            ("x" * 1000, "too large"),
        ],
    )
    async def test_a_result_that_cannot_be_sent_is_an_error_that_says_so(
        self, server: Peer, serve: Any, value: Any, text: str
    ) -> None:
        worker = Worker()
        worker.task("tag")(lambda task: value)
        serve(worker, frame_limit_bytes=900)
        attached = await server.attached()
        await attached.give("t1")
        answer = await attached.hear()
        assert answer["result"] == "error"
        assert text in answer["error"]
        assert answer["retry"] is False


class TestCancel:
    async def test_a_task_that_has_not_begun_is_dropped(self, server: Peer, serve: Any) -> None:
        worker, gate = gated()
        serve(worker)
        attached = await server.attached()
        await attached.give("t1")
        await attached.give("t2")
        await gate.wait_begun()
        await attached.say(kind="cancel", task_id="t2", attempt=1, reason="cancelled")
        await attached.give("t3")
        gate.may_end.set()
        assert (await attached.hear())["task_id"] == "t1"
        assert (await attached.hear())["task_id"] == "t3"

    async def test_a_sync_handler_is_told_and_its_result_is_dropped(self, server: Peer, serve: Any) -> None:
        worker = Worker()
        begun = threading.Event()

        @worker.task("tag")
        def tag(task: Task) -> str:
            begun.set()
            assert task.data == "second" or task.wait_cancelled(5)
            return "cancelled" if task.cancelled else "not cancelled"

        serve(worker)
        attached = await server.attached()
        await attached.give("t1")
        await asyncio.to_thread(begun.wait, 5)
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
        async with asyncio.timeout(5):
            await cancelled.wait()


class TestDrain:
    async def test_gives_back_what_has_not_begun_and_finishes_what_runs(self, server: Peer, serve: Any) -> None:
        worker, gate = gated()
        serving = serve(worker)
        attached = await server.attached()
        await attached.give("t1")
        await attached.give("t2")
        await gate.wait_begun()
        worker.drain()
        assert await attached.hear() == {"kind": "drain"}
        assert await attached.hear() == {"kind": "release", "task_id": "t2"}
        await attached.give("t3")
        assert await attached.hear() == {"kind": "release", "task_id": "t3"}
        await attached.say(kind="drain", reason="Confirmed.")
        gate.may_end.set()
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
        worker, gate = gated()
        serve(worker)
        first = await server.attached()
        await first.give("runs")
        await first.give("waits")
        await gate.wait_begun()
        await first.socket.close(1012)
        second = await server.attached()
        assert second.registration == first.registration
        await second.give("fresh")
        gate.may_end.set()
        answer = await second.hear()
        assert answer["task_id"] == "fresh"
        assert [task.id for task in gate.tasks] == ["runs", "fresh"]

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


async def test_frames_of_several_messages_are_understood(server: Peer, serve: Any) -> None:
    serve(echo(), concurrency=3, max_outstanding=3)
    attached = await server.attached()
    await attached.socket.send(json.dumps([task("t1"), task("t2"), task("t3")]))
    assert {(await attached.hear())["task_id"] for _ in range(3)} == {"t1", "t2", "t3"}
