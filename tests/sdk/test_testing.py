"""What the SDK gives to the tests of those who write workers."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from queueapp.domain.states import TaskState
from queueapp.sdk import Refused, Reject, Retry, Task, Worker
from queueapp.sdk.testing import LocalServer, Performance, perform, perform_async
from queueapp.sdk.testing.fixtures import workqueue

__all__ = ["workqueue"]

worker = Worker()


@worker.task("count")
def count(task: Task) -> int:
    task.extend(60)
    for step in (0.5, 1):
        task.progress(step, "counting")
        task.check()
    return task.attempt


@worker.task("count", way="async")
async def count_async(task: Task) -> int:
    task.progress(0.5, "counting")
    await asyncio.sleep(0)
    return task.attempt


@worker.task("refuse")
def refuse(kind: str) -> None:
    raise {"retry": Retry("quota", {"limit": 5}, after=7), "reject": Reject("never"), "bug": KeyError("x")}[kind]


class TestAPerformance:
    def test_of_a_sync_handler_shows_its_result_and_its_signs_of_life(self) -> None:
        expected = Performance(True, 3, progress=[(0.5, "counting"), (1, "counting")], extensions=[60])
        assert perform(worker, "count", attempt=3) == expected

    async def test_of_an_async_handler_does_too(self) -> None:
        performed = await perform_async(worker, "count", attrs={"way": "async"})
        assert performed == Performance(True, 1, progress=[(0.5, "counting")])

    def test_shows_what_an_error_says_of_another_attempt(self) -> None:
        retry = perform(worker, "refuse", "retry")
        assert (retry.error, retry.retry, retry.retry_after, retry.details) == ("quota", True, 7, {"limit": 5})
        reject = perform(worker, "refuse", "reject")
        assert (reject.error, reject.retry) == ("never", False)
        bug = perform(worker, "refuse", "bug")
        assert (bug.done, bug.error, bug.retry) == (False, "KeyError: 'x'", None)

    @pytest.mark.parametrize("attrs", [{}, {"way": "async"}])
    def test_may_be_cancelled_on_the_way(self, attrs: dict[str, str]) -> None:
        performed = perform(worker, "count", attrs=attrs, cancel_at=0.5)
        assert performed.cancelled
        assert performed.progress == [(0.5, "counting")]

    def test_needs_a_handler(self) -> None:
        with pytest.raises(LookupError, match="no handler for other"):
            perform(worker, "other")


class TestALocalServer:
    def test_gives_tasks_to_a_worker_and_takes_its_results(self, workqueue: LocalServer) -> None:
        with workqueue.serving(worker):
            ids = [workqueue.submit("count", attrs={"way": way}) for way in ("sync", "async")]
            assert [workqueue.wait(task_id).result for task_id in ids] == [1, 1]
        assert workqueue.task(ids[0]).progress is not None

    def test_tries_again_as_the_task_and_the_worker_say(self, workqueue: LocalServer) -> None:
        failing = Worker()

        @failing.task("t")
        def fail(task: Task) -> int:
            if task.attempt < 3:
                raise Retry("not yet", after=0.01)
            return task.attempt

        with workqueue.serving(failing):
            assert workqueue.wait(workqueue.submit("t")).attempts == ["error", "error", "done"]
            final = workqueue.wait(workqueue.submit("t", max_attempts=2))
        assert (final.state, final.attempts, final.error) == (TaskState.FAILED, ["error", "error"], "not yet")

    def test_loses_connections_when_it_is_asked_to(self, workqueue: LocalServer) -> None:
        begun = threading.Semaphore(0)
        holding = Worker()

        @holding.task("t")
        async def hold(task: Task) -> str:
            begun.release()
            if task.attempt == 1:
                await asyncio.Event().wait()
            return "done"

        with workqueue.serving(holding):
            task_id = workqueue.submit("t")
            assert begun.acquire(timeout=10)
            workqueue.break_connections()
            assert workqueue.wait(task_id).attempts == ["lost", "done"]

    def test_has_workers_come_again_when_it_restarts(self, workqueue: LocalServer) -> None:
        with workqueue.serving(worker):
            assert workqueue.wait(workqueue.submit("count")).result == 1
            workqueue.restart()
            assert workqueue.wait(workqueue.submit("count")).result == 1

    def test_cancels(self, workqueue: LocalServer) -> None:
        begun = threading.Semaphore(0)
        reasons: list[str | None] = []
        holding = Worker()

        @holding.task("t")
        def hold(task: Task) -> None:
            begun.release()
            assert task.wait_cancelled(10)
            reasons.append(task.reason)

        with workqueue.serving(holding):
            task_id = workqueue.submit("t")
            assert begun.acquire(timeout=10)
            workqueue.cancel(task_id)
            assert workqueue.wait(task_id).state is TaskState.CANCELLED
        assert reasons == ["cancelled"]

    def test_gives_what_times_out_to_another_attempt(self, workqueue: LocalServer) -> None:
        slow = Worker()

        @slow.task("t")
        async def hang_once(task: Task) -> int:
            if task.attempt == 1:
                await asyncio.Event().wait()
            return task.attempt

        with workqueue.serving(slow):
            done = workqueue.wait(workqueue.submit("t", timeout=0.05, max_attempts=50))
        assert done.state is TaskState.SUCCEEDED
        assert set(done.attempts) == {"timeout", "done"}

    def test_prefers_the_most_specific_worker(self, workqueue: LocalServer) -> None:
        def by(name: str, **criteria: Any) -> Worker:
            named = Worker()
            named.task("t", criteria)(lambda task: name)
            return named

        with workqueue.serving(by("any")), workqueue.serving(by("aws", cloud="aws")):
            assert workqueue.wait(workqueue.submit("t", attrs={"cloud": "gcp"})).result == "any"
            assert workqueue.wait(workqueue.submit("t", attrs={"cloud": "aws"})).result == "aws"

    async def test_refuses_whom_it_does_not_know(self, workqueue: LocalServer) -> None:
        with pytest.raises(Refused, match="401"):
            await worker.serve(workqueue.url, "wq_wrong")
