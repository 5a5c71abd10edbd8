"""What a handler is given, and what the server hears of how it ended."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import pytest
from holding import echo, held
from scripted_peer import Peer, task

from queueapp.sdk import Reject, Retry, Task, Worker


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
        worker, handler = held()
        serve(worker, concurrency=2)
        attached = await server.attached()
        await attached.give("t1")
        await attached.give("t1")
        await attached.give("t2")
        await handler.wait_begun()
        await handler.wait_begun()
        handler.may_end.set()
        assert {(await attached.hear())["task_id"] for _ in range(2)} == {"t1", "t2"}
        assert len(handler.tasks) == 2

    async def test_what_it_does_not_understand_is_passed_over(self, server: Peer, serve: Any) -> None:
        serve(echo())
        attached = await server.attached()
        await attached.socket.send('[{"kind":"news","from":"the future"}]')
        await attached.socket.send("{not json")
        await attached.socket.send("[not json")
        await attached.say(kind="error", code="invalid", message="What was that?")
        await attached.give("t1", "x")
        assert (await attached.hear())["data"] == "x"

    async def test_of_tasks_that_came_in_one_frame_come_too(self, server: Peer, serve: Any) -> None:
        serve(echo(), concurrency=3, max_outstanding=3)
        attached = await server.attached()
        await attached.socket.send(json.dumps([task("t1"), task("t2"), task("t3")]))
        assert {(await attached.hear())["task_id"] for _ in range(3)} == {"t1", "t2", "t3"}


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
            ("\ud800", "surrogate"),
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
