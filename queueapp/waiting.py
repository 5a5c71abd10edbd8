"""Waiting for tasks to end: woken by the doorbell, with one slow poll behind it for all who wait."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from contextlib import suppress
from uuid import UUID

from django.db import DatabaseError, connections

from queueapp.lookout import Lookout
from queueapp.models import Task

logger = logging.getLogger(__name__)

Wake = Callable[[], None]


async def until_terminal(task_id: UUID, seconds: float) -> None:
    """Return when the task is terminal (or is no more), at the latest after `seconds`."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()

    def wake() -> None:
        with suppress(RuntimeError):  # the loop has closed: nobody waits there any more
            loop.call_soon_threadsafe(ended.set)

    with _waiting_room.entered(task_id, wake), suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await ended.wait()


def release_all() -> None:
    """Let all who wait in this process go: it is about to end, and they are to be answered."""
    _waiting_room.release_all()


def number_waiting() -> int:
    """How many wait in this process."""
    return _waiting_room.number()


class _WaitingRoom(Lookout[Wake]):
    """The row is read after the entry: a task that ended just before is found by that, one that ends later by the
    doorbell."""

    def __init__(self) -> None:
        super().__init__("until-terminal")
        self._fresh: set[UUID] = set()

    def release_all(self) -> None:
        self._wake(list(self._guests))

    def _note(self, task_id: UUID, guest: Wake) -> None:
        self._fresh.add(task_id)

    def _forget(self, task_id: UUID) -> None:
        self._fresh.discard(task_id)

    def _wake_one(self, guest: Wake) -> None:
        guest()

    def _has_fresh(self) -> bool:
        return bool(self._fresh)

    def _next_look(self, all_are_due: bool) -> Callable[[], None]:
        """At once at the tasks that somebody has begun to wait for, and at all of them each interval."""
        task_ids = set(self._guests) if all_are_due else set(self._fresh)
        self._fresh.clear()
        return lambda: self._wake(_ended_of(task_ids))


def _ended_of(task_ids: Collection[UUID]) -> set[UUID]:
    """Those of the tasks that are not live any more. With the database away, none: the next look may tell."""
    if not task_ids:
        return set()
    try:
        live = Task.objects.live().filter(pk__in=task_ids).values_list("id", flat=True)
        return set(task_ids) - set(live)
    except DatabaseError:
        logger.warning("The tasks that are waited for could not be read.", exc_info=True)
        connections.close_all()
        return set()


_waiting_room = _WaitingRoom()
