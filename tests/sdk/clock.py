"""The clock of the running loop, which a test may put forward: waiting for a timeout takes no time."""

from __future__ import annotations

import asyncio


class Clock:
    """From any thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._own_time = loop.time
        self._ahead_seconds = 0.0
        loop.time = self._time  # type: ignore[method-assign]

    def advance(self, seconds: float) -> None:
        self._ahead_seconds += seconds
        # It may sleep until a moment that has passed now.
        self._loop.call_soon_threadsafe(lambda: None)

    def _time(self) -> float:
        return self._own_time() + self._ahead_seconds
