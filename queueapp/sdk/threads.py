"""The threads in which sync handlers run."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Generic, TypeVar

T = TypeVar("T")


class HandlerThreads(Generic[T]):
    """Daemon threads, started as they are needed and used again; as many as there are calls at a time.

    Not `concurrent.futures`: its threads are joined when the interpreter ends, so a second Ctrl-C could not
    stop a worker whose handler hangs.
    """

    def __init__(self) -> None:
        self._idle: list[_HandlerThread[T]] = []
        self._left_alone: list[_HandlerThread[T]] = []

    @property
    def hanging(self) -> int:
        """Threads whose caller was cancelled, and whose function has not ended yet."""
        return sum(thread.is_alive for thread in self._left_alone)

    async def call(self, function: Callable[[], T]) -> T:
        """The function's return value. It must not raise: a future cannot carry every exception.

        Who is cancelled leaves the function alone: its thread ends with it, and the next call gets another.
        """
        thread = self._idle.pop() if self._idle else _HandlerThread[T]()
        try:
            value = await thread.call(function)
        except asyncio.CancelledError:
            thread.let_go()
            self._left_alone = [each for each in (*self._left_alone, thread) if each.is_alive]
            raise
        self._idle.append(thread)
        return value

    def close(self) -> None:
        """Let the idle threads end."""
        while self._idle:
            self._idle.pop().let_go()


class _HandlerThread(Generic[T]):
    def __init__(self) -> None:
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="handler", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    def call(self, function: Callable[[], T]) -> asyncio.Future[T]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def in_thread() -> None:
            value = function()
            try:
                loop.call_soon_threadsafe(_resolve, future, value)
            except RuntimeError:  # the loop was closed by a second signal: nobody waits any more
                return

        self._calls.put(in_thread)
        return future

    def let_go(self) -> None:
        """It ends once its call has."""
        self._calls.put(None)

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call()


def _resolve(future: asyncio.Future[T], value: T) -> None:
    if not future.done():
        future.set_result(value)
