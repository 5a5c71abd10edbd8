"""What operators' pages watch, as it is now: made at most once a second in a process, for all who watch it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from types import TracebackType
from typing import Any

from channels.db import database_sync_to_async

from queueapp import database, overview, snapshots
from queueapp.domain.payloads import json_text
from queueapp.subjects import Subject

SNAPSHOT_SECONDS = 1.0
FRESH_SECONDS = 0.9
"""A little less: a feed that asks again after a second would be told the old one every other time."""
SHARE = 0.05
"""Of a core, the database's part with it. What takes long to make (the many routes of a queue, a slow filter) is
made less often than once a second, so that it takes no more than this."""
SLOWEST_SECONDS = 30.0
FORGOTTEN_SECONDS = 10.0
PAST_SECONDS = 5.0


class Kept:
    """A text that is made anew when somebody asks, and it is older than so many seconds. Who asks meanwhile waits
    for the one that is being made. That it could not be made is told for as long as a text would be."""

    def __init__(self, make: Callable[[], str], seconds: float, share: float | None = None) -> None:
        self._make, self._seconds, self._share = make, seconds, share
        self._making = threading.Lock()
        self._text = ""
        self._failure: Exception | None = None
        self._failed_at: TracebackType | None = None
        self._fresh_until = 0.0
        self.asked_at = monotonic()

    def read(self) -> str:
        with self._making:
            begun_at = self.asked_at = monotonic()
            if begun_at >= self._fresh_until:
                self._make_anew()
                self._fresh_until = begun_at + self._pause(monotonic() - begun_at)
            if self._failure is not None:
                raise self._failure.with_traceback(self._failed_at)
            return self._text

    def _make_anew(self) -> None:
        self._failure = self._failed_at = None
        try:
            self._text = self._make()
        except Exception as error:
            self._failure, self._failed_at = error, error.__traceback__

    def _pause(self, took: float) -> float:
        if self._share is None:
            return self._seconds
        return max(self._seconds, min(took / self._share, took + SLOWEST_SECONDS))


class _Snapshots:
    """Those that somebody has asked for lately."""

    def __init__(self) -> None:
        self._changing = threading.Lock()
        self._kept: dict[Subject, Kept] = {}

    def of(self, subject: Subject) -> Kept:
        with self._changing:
            kept = self._kept.get(subject)
            if kept is None:
                forgotten = monotonic() - FORGOTTEN_SECONDS
                self._kept = {key: each for key, each in self._kept.items() if each.asked_at > forgotten}
                kept = self._kept[subject] = Kept(lambda: _made(subject), FRESH_SECONDS, _share_of(subject))
            return kept

    def forget(self) -> None:
        with self._changing:
            self._kept.clear()

    def __len__(self) -> int:
        return len(self._kept)


def _made(subject: Subject) -> str:
    return json_text(snapshots.make(subject))


def _share_of(subject: Subject) -> float | None:
    """The overview has a bound of its own, for what takes long in it."""
    return None if subject.kind == "overview" else SHARE


_snapshots = _Snapshots()
_pasts: dict[str, Kept] = {}


def read(subject: Subject) -> str:
    """JSON. At most a second old, unless it takes long to make."""
    return _snapshots.of(subject).read()


def past(range_name: str) -> str:
    """JSON of one of `overview.RANGES`."""

    def make() -> str:
        return json_text(overview.past(range_name, database.now()))

    return _pasts.setdefault(range_name, Kept(make, PAST_SECONDS)).read()


def forget() -> None:
    """What was read is read again: for tests, whose rows come and go."""
    _snapshots.forget()
    snapshots.forget()
    _pasts.clear()


class Feed:
    """Of one event loop and subject: the next snapshot, the same for all who wait for it. Who is slow misses some;
    where nobody waits, none is made."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._next: asyncio.Task[str] | None = None
        self._made_at = 0.0
        self.watchers = 0

    async def next(self) -> str:
        if self._next is None or self._next.done():
            self._next = asyncio.get_running_loop().create_task(self._make())
        return await asyncio.shield(self._next)

    async def _make(self) -> str:
        await asyncio.sleep(self._made_at + SNAPSHOT_SECONDS - monotonic())
        self._made_at = monotonic()
        ask: Any = database_sync_to_async(read, thread_sensitive=False)
        return await ask(self._subject)


_feeds: dict[tuple[asyncio.AbstractEventLoop, Subject], Feed] = {}


@contextmanager
def feed(subject: Subject) -> Iterator[Feed]:
    """That of the running event loop. It is there as long as somebody watches."""
    key = asyncio.get_running_loop(), subject
    mine = _feeds.setdefault(key, Feed(subject))
    mine.watchers += 1
    try:
        yield mine
    finally:
        mine.watchers -= 1
        if not mine.watchers:
            _feeds.pop(key, None)
