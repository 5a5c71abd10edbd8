"""Handlers: ones that a test holds, one that does nothing, and a worker that is at work with the first."""

from __future__ import annotations

import asyncio
import threading
from typing import Any, NamedTuple

from scripted_peer import Attached, Peer

from queueapp.sdk import Task, Worker


class Held:
    """A sync handler that says when it has begun and waits until it may end, whatever it is told."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.may_end = threading.Event()
        self.tasks: list[Task] = []

    def __call__(self, task: Task) -> Any:
        if task.data == "quick":
            return "quick"
        self.tasks.append(task)
        self.begun.release()
        assert self.may_end.wait(10)
        return "finished"

    async def wait_begun(self) -> None:
        assert await asyncio.to_thread(self.begun.acquire, timeout=10)


def held() -> tuple[Worker, Held]:
    worker, handler = Worker(), Held()
    worker.task("tag")(handler)
    return worker, handler


class AtWork(NamedTuple):
    handler: Held
    attached: Attached
    worker: Worker
    serving: asyncio.Task[None]


async def at_work(server: Peer, serve: Any, *waiting: str, **options: Any) -> AtWork:
    """A handler that has begun with the task t1, which has 300 seconds. The other tasks, if any, wait for it."""
    worker, handler = held()
    serving = serve(worker, **options)
    attached = await server.attached()
    for task_id in ("t1", *waiting):
        await attached.give(task_id, timeout=300)
    await handler.wait_begun()
    return AtWork(handler, attached, worker, serving)


def held_on_the_loop() -> tuple[Worker, asyncio.Event]:
    """A handler that says when it has begun and waits until it is cancelled."""
    worker = Worker()
    begun = asyncio.Event()

    @worker.task("tag")
    async def tag(task: Task) -> Any:
        if task.data == "quick":
            return "quick"
        begun.set()
        return await asyncio.Event().wait()

    return worker, begun


async def all_has_arrived(attached: Attached) -> None:
    """Nobody performs this one, which is said at once."""
    await attached.give("nobody's", task_name="other")
    assert (await attached.hear())["task_id"] == "nobody's"


def echo() -> Worker:
    worker = Worker()

    @worker.task("tag")
    def tag(task: Task) -> Any:
        return task.data

    return worker
