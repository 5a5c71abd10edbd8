"""The threads in which sync handlers run."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from queue import SimpleQueue


class HandlerThreads:
    """A pool of up to `size` daemon threads, started as they are needed.

    Not `concurrent.futures`: its threads are joined when the interpreter ends, so a second Ctrl-C could not
    stop a worker whose handler hangs.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._threads: list[threading.Thread] = []
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._busy = 0

    async def call(self, function: Callable[[], str]) -> str:
        """The function's return value. It must not raise: a future cannot carry every exception."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[str] = loop.create_future()

        def in_thread() -> None:
            value = function()
            try:
                loop.call_soon_threadsafe(_resolve, future, value)
            except RuntimeError:  # the loop was closed by a second signal: nobody waits any more
                return

        self._busy += 1
        try:
            self._start_one_if_all_are_busy()
            self._calls.put(in_thread)
            return await future
        finally:
            self._busy -= 1

    def close(self) -> None:
        """Let every idle thread end; a busy one ends after its call."""
        for _ in self._threads:
            self._calls.put(None)
        self._threads.clear()

    def _start_one_if_all_are_busy(self) -> None:
        if self._busy > len(self._threads) < self._size:
            thread = threading.Thread(target=self._work, name=f"handler-{len(self._threads)}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call()


def _resolve(future: asyncio.Future[str], value: str) -> None:
    if not future.done():
        future.set_result(value)
