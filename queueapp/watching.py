"""Following tasks: woken when one has changed, by the doorbell for its end and by one poll a second for all else.

The poll is two statements for all who follow, whatever their number: for the
tasks, and for their keys. It is on a thread that lives while somebody does.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db import DatabaseError, connections

from queueapp.lookout import Lookout
from queueapp.models import ApiKey, Task

logger = logging.getLogger(__name__)

Version = tuple[Any, ...]
VERSION = ("state", "attempt", "progress", "progress_message")
"""What a follower wants to know of. What nobody wants to be told of, as a deadline put off, is not here."""


@dataclass(eq=False, slots=True)
class Follower:
    """`seen`: of the task, before it followed. `key_id`: of the key that it follows by. `released`: the server is
    about to end, and nothing more will be told."""

    _loop: asyncio.AbstractEventLoop
    seen: Version
    key_id: int | None = None
    _woken: asyncio.Event = field(default_factory=asyncio.Event)
    released: bool = False

    async def changed(self, seconds: float) -> bool:
        """True once the task may have changed from what was seen or told of, or the key is no more; False when
        nothing has for so long, or the server ends."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        woken = self._woken.is_set()
        self._woken.clear()
        return woken and not self.released

    def wake(self) -> None:
        """On any thread."""
        with suppress(RuntimeError):  # the loop has closed: nobody follows there any more
            self._loop.call_soon_threadsafe(self._woken.set)


@contextmanager
def following(task_id: UUID, seen: Version, key_id: int | None = None) -> Iterator[Follower]:
    """Follow a task from what was seen of it."""
    follower = Follower(asyncio.get_running_loop(), seen, key_id)
    with _watchtower.entered(task_id, follower):
        yield follower


def release_all() -> None:
    """Let all who follow in this process go: it is about to end."""
    _watchtower.release_all()


def close() -> None:
    """The same, and for who comes to follow from now on."""
    _watchtower.close()


def number_watching() -> int:
    """How many follow in this process."""
    return _watchtower.number()


def watching_by_key() -> Counter[int]:
    """How many follow in this process by each key."""
    return _watchtower.by_key()


class _Watchtower(Lookout[Follower]):
    """A follower is woken once the task is not any more as it was seen before the entry."""

    def __init__(self) -> None:
        super().__init__("watchtower")
        self._versions: dict[UUID, Version | None] = {}
        """As the last poll saw them, or who entered since; None where these have seen different ones."""

    def by_key(self) -> Counter[int]:
        with self._changed:
            following = [each.key_id for some in self._guests.values() for each in some]
        return Counter(key_id for key_id in following if key_id is not None)

    def _note(self, task_id: UUID, guest: Follower) -> None:
        if self._versions.setdefault(task_id, guest.seen) != guest.seen:
            self._versions[task_id] = None

    def _forget(self, task_id: UUID) -> None:
        del self._versions[task_id]

    def _wake_one(self, guest: Follower) -> None:
        guest.wake()

    def _release(self, guest: Follower) -> None:
        guest.released = True
        guest.wake()

    def _next_look(self) -> Callable[[], None]:
        seen = dict(self._versions)
        return lambda: self._compare(seen)

    def _wake_whose_key_is_no_more(self) -> None:
        with self._changed:
            keyed = [each for some in self._guests.values() for each in some if each.key_id is not None]
        if not keyed:
            return
        usable = set(
            ApiKey.objects.usable().filter(pk__in={each.key_id for each in keyed}).values_list("pk", flat=True)
        )
        for follower in keyed:
            if follower.key_id not in usable:
                follower.wake()

    def _compare(self, seen: dict[UUID, Version | None]) -> None:
        try:
            rows = Task.objects.filter(pk__in=list(seen)).values_list("id", *VERSION)
            found = {task_id: tuple(version) for task_id, *version in rows}
            self._wake_whose_key_is_no_more()
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
