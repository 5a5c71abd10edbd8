"""Handlers: one that a test holds, and one that does nothing."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

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


def echo() -> Worker:
    worker = Worker()

    @worker.task("tag")
    def tag(task: Task) -> Any:
        return task.data

    return worker
