"""Following tasks: woken when one has changed, by the doorbell for its end and by one poll a second for all else.

The poll is one statement for all who follow, whatever their number, on a thread that lives while somebody does.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncGenerator, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db import DatabaseError, connections

from queueapp import doorbell
from queueapp.conf import config
from queueapp.models import Task

logger = logging.getLogger(__name__)

Version = tuple[Any, ...]
_VERSION = ("state", "attempt", "finished_at", "progress", "progress_message")
"""What a follower wants to know of. What nobody wants to be told of, as a deadline put off, is not here."""


async def changes(task_id: UUID, heartbeat_seconds: float) -> AsyncGenerator[bool]:
    """At once, and then each time that the task may have changed: True; False when nothing has for as long as a
    heartbeat. Ends with `release_all`."""
    watcher = _Watcher(asyncio.get_running_loop())
    with _watchtower.entered(task_id, watcher):
        yield True
        while not watcher.released:
            changed = False
            with suppress(TimeoutError):
                async with asyncio.timeout(heartbeat_seconds):
                    changed = await watcher.woken.wait()
            watcher.woken.clear()
            if not watcher.released:
                yield changed


def release_all() -> None:
    """Let all who follow in this process go: it is about to end."""
    _watchtower.release_all()


def number_watching() -> int:
    """How many follow in this process."""
    return _watchtower.number()


@dataclass(eq=False, slots=True)
class _Watcher:
    loop: asyncio.AbstractEventLoop
    woken: asyncio.Event = field(default_factory=asyncio.Event)
    released: bool = False

    def wake(self) -> None:
        """On any thread."""
        with suppress(RuntimeError):  # the loop has closed: nobody follows there any more
            self.loop.call_soon_threadsafe(self.woken.set)


class _Watchtower:
    """All who follow in this process, whatever their event loop."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._watchers: dict[UUID, list[_Watcher]] = {}
        self._versions: dict[UUID, Version | None] = {}
        """As the last poll saw them: None before it has, or for a task that is no more."""
        self._listening = False
        self._polling = False

    def number(self) -> int:
        with self._changed:
            return sum(len(watchers) for watchers in self._watchers.values())

    @contextmanager
    def entered(self, task_id: UUID, watcher: _Watcher) -> Iterator[None]:
        """The task is to be read after the entry: a change before is seen by that, one after it by the poll, which
        wakes whoever entered since the last one."""
        with self._changed:
            self._watchers.setdefault(task_id, []).append(watcher)
            self._versions[task_id] = None
            self._start()
        try:
            yield
        finally:
            with self._changed:
                watchers = self._watchers[task_id]
                watchers.remove(watcher)
                if not watchers:
                    del self._watchers[task_id], self._versions[task_id]
                    self._changed.notify()

    def _start(self) -> None:
        if not self._listening:
            doorbell.listen(self._hear)
            self._listening = True
        if not self._polling:
            self._polling = True
            threading.Thread(target=self._run, name="watchtower", daemon=True).start()

    def _hear(self, ring: doorbell.Ring) -> None:
        if ring.ended and self._watchers:
            self._wake(ring.ended)

    def _wake(self, task_ids: Collection[UUID]) -> None:
        with self._changed:
            for task_id in self._watchers.keys() & task_ids:
                for watcher in self._watchers[task_id]:
                    watcher.wake()

    def release_all(self) -> None:
        with self._changed:
            for watchers in self._watchers.values():
                for watcher in watchers:
                    watcher.released = True
                    watcher.wake()

    def _run(self) -> None:
        try:
            self._poll()
        finally:
            connections.close_all()

    def _poll(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: not self._watchers, config().poll_interval_seconds)
                if not self._watchers:
                    self._polling = False
                    return
                seen = dict(self._versions)
            self._compare(seen)

    def _compare(self, seen: dict[UUID, Version | None]) -> None:
        try:
            rows = Task.objects.filter(pk__in=list(seen)).values_list("id", *_VERSION)
            found = {task_id: tuple(version) for task_id, *version in rows}
        except DatabaseError:
            logger.warning("The tasks that are followed could not be read.", exc_info=True)
            connections.close_all()
            return
        with self._changed:
            changed = {task_id for task_id in seen if found.get(task_id) != seen[task_id] or task_id not in found}
            for task_id in changed & self._versions.keys():
                self._versions[task_id] = found.get(task_id)
            self._wake(changed)


_watchtower = _Watchtower()
