"""Calls a handler with a task, and makes of whatever it does the message that ends the attempt."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

from queueapp.sdk import messages
from queueapp.sdk.framelimit import FrameLimit
from queueapp.sdk.handlers import AsyncHandler, Handler, SyncHandler
from queueapp.sdk.messages import ResultMessage
from queueapp.sdk.task import Task
from queueapp.sdk.threads import HandlerThreads


class Performer:
    def __init__(self, frame_limit: FrameLimit) -> None:
        self._frame_limit = frame_limit
        self._threads = HandlerThreads[ResultMessage]()

    @property
    def hanging_threads(self) -> int:
        return self._threads.hanging

    async def perform(self, handler: Handler, task: Task) -> ResultMessage:
        """Raises asyncio.CancelledError and nothing else: an async handler that was cancelled, or a sync one that
        was left alone."""
        match handler:
            case SyncHandler(function):
                return await self._threads.call(partial(self._call, function, task))
            case AsyncHandler(function):
                return await self._call_async(function, task)

    def close(self) -> None:
        self._threads.close()

    def _call(self, function: Callable[[Task], object], task: Task) -> ResultMessage:
        try:
            return messages.done(task.id, task.attempt, function(task), self._frame_limit.message_bytes)
        except BaseException as failure:  # a handler that calls sys.exit() fails its task, not the worker
            return messages.failed(task.id, task.attempt, failure, self._frame_limit.message_bytes)

    async def _call_async(self, function: Callable[[Task], Awaitable[object]], task: Task) -> ResultMessage:
        try:
            return messages.done(task.id, task.attempt, await function(task), self._frame_limit.message_bytes)
        except asyncio.CancelledError as failure:
            run = asyncio.current_task()
            if run is not None and run.cancelling():
                raise
            # Something that the handler awaited was cancelled, not the handler: the server must hear of it.
            return messages.failed(task.id, task.attempt, failure, self._frame_limit.message_bytes)
        except (Exception, SystemExit) as failure:
            return messages.failed(task.id, task.attempt, failure, self._frame_limit.message_bytes)
