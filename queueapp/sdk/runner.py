"""Executes the tasks that a worker holds, so many at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from queueapp.sdk import messages
from queueapp.sdk.handlers import AsyncHandler, Handler, SyncHandler
from queueapp.sdk.task import Task
from queueapp.sdk.threads import HandlerThreads

Key = tuple[str, int]
"""A task's id and the attempt: after a reconnect one process may see two attempts of one task."""

Conclude = Callable[[Key, str | None], None]
"""Told when a task's handler has ended, with the message to send: None when the task was cancelled."""


@dataclass(frozen=True, slots=True)
class Execution:
    task: Task
    handler: Handler
    conclude: Conclude

    @property
    def key(self) -> Key:
        return (self.task.id, self.task.attempt)


class Runner:
    """Belongs to the worker, not to a connection: handlers outlive the connection that brought their task."""

    def __init__(self, concurrency: int, frame_limit_bytes: int) -> None:
        self._concurrency = concurrency
        self._frame_limit_bytes = frame_limit_bytes
        self._threads = HandlerThreads(concurrency)
        self._waiting: dict[Key, Execution] = {}
        self._running: dict[asyncio.Task[None], Execution] = {}
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def is_idle(self) -> bool:
        return not self._running and not self._waiting

    async def wait_until_idle(self) -> None:
        await self._idle.wait()

    def accept(self, execution: Execution) -> None:
        """Run it as soon as there is a free place, in the order of acceptance."""
        self._idle.clear()
        self._waiting[execution.key] = execution
        self._start_waiting()

    def cancel(self, key: Key) -> bool:
        """Drop a task that has not begun; cancel an async handler, tell a sync one. Whether it had begun."""
        if self._waiting.pop(key, None) is not None:
            self._note_idle()
            return False
        for run, execution in self._running.items():
            if execution.key == key:
                execution.task.cancel()
                if isinstance(execution.handler, AsyncHandler):
                    run.cancel()
        return True

    def take_back_waiting(self) -> list[Key]:
        """Empty the local queue: what was in it will not be run."""
        keys = list(self._waiting)
        self._waiting.clear()
        self._note_idle()
        return keys

    def close(self) -> None:
        """Let the threads go. Async handlers that still run are cancelled."""
        for run in self._running:
            run.cancel()
        self._threads.close()

    def _start_waiting(self) -> None:
        while self._waiting and len(self._running) < self._concurrency:
            key = next(iter(self._waiting))
            execution = self._waiting.pop(key)
            run = asyncio.create_task(self._run(execution), name=f"task {execution.task.id}")
            self._running[run] = execution
            run.add_done_callback(self._ended)

    async def _run(self, execution: Execution) -> None:
        message = await self._outcome(execution)
        execution.conclude(execution.key, None if execution.task.cancelled else message)

    def _ended(self, run: asyncio.Task[None]) -> None:
        execution = self._running.pop(run)
        if run.cancelled():  # before its first step, or when the worker stops at once
            execution.conclude(execution.key, None)
        self._start_waiting()
        self._note_idle()

    def _note_idle(self) -> None:
        if self.is_idle:
            self._idle.set()

    async def _outcome(self, execution: Execution) -> str:
        match execution.handler:
            case SyncHandler(function):
                return await self._threads.call(partial(self._perform, function, execution.task))
            case AsyncHandler(function):
                return await self._perform_async(function, execution.task)

    def _perform(self, function: Callable[[Task], object], task: Task) -> str:
        try:
            return messages.done(task.id, task.attempt, function(task), self._frame_limit_bytes)
        except BaseException as failure:  # a handler that calls sys.exit() fails its task, not the worker
            return messages.failed(task.id, task.attempt, failure)

    async def _perform_async(self, function: Callable[[Task], Awaitable[object]], task: Task) -> str:
        try:
            return messages.done(task.id, task.attempt, await function(task), self._frame_limit_bytes)
        except asyncio.CancelledError as failure:
            run = asyncio.current_task()
            if run is not None and run.cancelling():
                raise
            # Something that the handler awaited was cancelled, not the handler: the server must hear of it.
            return messages.failed(task.id, task.attempt, failure)
        except (Exception, SystemExit) as failure:
            return messages.failed(task.id, task.attempt, failure)
