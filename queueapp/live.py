"""The overview as it is now, made at most once a second in a process, for all who look at it there."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from time import monotonic, thread_time
from typing import Any

from channels.db import database_sync_to_async

from queueapp import database, overview
from queueapp.domain.payloads import json_text
from queueapp.overview import Problem

SNAPSHOT_SECONDS = 1.0
PROBLEMS_SECONDS = 10.0
PROBLEMS_SHARE = 0.02
"""To explain what waits takes a pass in thought for each route. Over a large fleet it is done less often than
every ten seconds, so that it takes no more of a core than this."""
PAST_SECONDS = 5.0


class Kept:
    """A text that is made anew when somebody asks, and it is older than so many seconds. Who asks meanwhile waits
    for the one that is being made."""

    def __init__(self, make: Callable[[], str], seconds: float) -> None:
        self._make, self._seconds = make, seconds
        self._making = threading.Lock()
        self._text = ""
        self._fresh_until = 0.0

    def read(self) -> str:
        with self._making:
            if monotonic() >= self._fresh_until:
                self._text = self._make()
                self._fresh_until = monotonic() + self._seconds
            return self._text

    def forget(self) -> None:
        self._fresh_until = 0.0


class _Now:
    """Explains what is wrong less often than it counts."""

    def __init__(self) -> None:
        self.problems: Sequence[Problem] = ()
        self.explain_at = 0.0

    def make(self) -> str:
        now, waiting = database.now(), overview.backlogs()
        if monotonic() >= self.explain_at:
            begun_at = thread_time()
            self.problems = overview.problems(now, waiting)
            pause = max(PROBLEMS_SECONDS, (thread_time() - begun_at) / PROBLEMS_SHARE)
            self.explain_at = monotonic() + pause
        return json_text(overview.snapshot(now, self.problems, waiting))


_now = _Now()
_snapshot = Kept(_now.make, SNAPSHOT_SECONDS)
_pasts: dict[str, Kept] = {}


def snapshot() -> str:
    """JSON. At most a second old."""
    return _snapshot.read()


def past(range_name: str) -> str:
    """JSON of one of `overview.RANGES`."""

    def make() -> str:
        return json_text(overview.past(range_name, database.now()))

    return _pasts.setdefault(range_name, Kept(make, PAST_SECONDS)).read()


def forget() -> None:
    """What was read is read again: for tests, whose rows come and go."""
    _snapshot.forget()
    _now.explain_at = 0.0
    _pasts.clear()


class Feed:
    """Of one event loop: the next snapshot, the same for all who wait for it. Who is slow misses some; where
    nobody waits, none is made."""

    def __init__(self) -> None:
        self._next: asyncio.Task[str] | None = None
        self._made_at = 0.0

    async def next(self) -> str:
        if self._next is None or self._next.done():
            self._next = asyncio.get_running_loop().create_task(self._make())
        return await asyncio.shield(self._next)

    async def _make(self) -> str:
        await asyncio.sleep(self._made_at + SNAPSHOT_SECONDS - monotonic())
        self._made_at = monotonic()
        read: Any = database_sync_to_async(snapshot, thread_sensitive=False)
        return await read()


_feeds: dict[int, tuple[asyncio.AbstractEventLoop, Feed]] = {}


def feed() -> Feed:
    """That of the running event loop."""
    loop = asyncio.get_running_loop()
    known = _feeds.get(id(loop))
    if known is None or known[0] is not loop:
        _feeds.clear()
        known = _feeds[id(loop)] = loop, Feed()
    return known[1]
