"""Waiting for tasks to end: woken by the doorbell, with one slow poll behind it for all who wait.

Who is going to wait listens before it reads, or makes, the task, so that between that and the wait no end goes
unheard, and nobody need look at the task again for it: a look would be a thread and a connection more just when
the task is assigned.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from uuid import UUID

from django.db import DatabaseError, connections

from queueapp import doorbell
from queueapp.lookout import Lookout
from queueapp.models import Task

logger = logging.getLogger(__name__)

Wake = Callable[[], None]


@contextmanager
def listening() -> Iterator[Listening]:
    """Hear of the tasks that end from now on, before it is known which of them one is going to wait for."""
    listening = Listening()
    with _waiting_room.attended(listening):
        yield listening


class Listening:
    """What has ended since it began."""

    def __init__(self) -> None:
        self._ended: list[Collection[UUID]] = []

    def hear(self, task_ids: Collection[UUID]) -> None:
        """On any thread."""
        self._ended.append(task_ids)

    async def until_terminal(self, task_id: UUID, seconds: float) -> None:
        """Return when the task, which was live when this had begun, is terminal (or is no more), at the latest
        after `seconds`."""
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()

        def wake() -> None:
            with suppress(RuntimeError):  # the loop has closed: nobody waits there any more
                loop.call_soon_threadsafe(ended.set)

        with _waiting_room.entered(task_id, wake), suppress(TimeoutError):
            # From here on it is woken by name, and need not keep what else ends.
            _waiting_room.dismiss(self)
            if not any(task_id in task_ids for task_ids in self._ended):
                self._ended.clear()
                async with asyncio.timeout(seconds):
                    await ended.wait()


def release_all() -> None:
    """Let all who wait in this process go: it is about to end, and they are to be answered."""
    _waiting_room.release_all()


def close() -> None:
    """The same, and for who comes to wait from now on."""
    _waiting_room.close()


def number_waiting() -> int:
    """How many wait in this process."""
    return _waiting_room.number()


def waited_for() -> dict[UUID, int]:
    """For which tasks somebody waits in this process, and how many do."""
    return _waiting_room.waited_for()


class _WaitingRoom(Lookout[Wake]):
    def __init__(self) -> None:
        super().__init__("until-terminal")
        self._attending: set[Listening] = set()

    def waited_for(self) -> dict[UUID, int]:
        with self._changed:
            return {task_id: len(wakes) for task_id, wakes in self._guests.items()}

    @contextmanager
    def attended(self, listening: Listening) -> Iterator[None]:
        with self._changed:
            self._attending.add(listening)
            self._listen()
        try:
            yield
        finally:
            self.dismiss(listening)

    def dismiss(self, listening: Listening) -> None:
        with self._changed:
            self._attending.discard(listening)

    def _wake_one(self, guest: Wake) -> None:
        guest()

    def _hear(self, ring: doorbell.Ring) -> None:
        if ring.ended and self._attending:
            with self._changed:
                for listening in self._attending:
                    listening.hear(ring.ended)
        super()._hear(ring)

    def _next_look(self) -> Callable[[], None]:
        task_ids = set(self._guests)
        return lambda: self._wake(_ended_of(task_ids))


def _ended_of(task_ids: Collection[UUID]) -> set[UUID]:
    """Those of the tasks that are not live any more. With the database away, none: the next look may tell."""
    try:
        live = Task.objects.live().filter(pk__in=task_ids).values_list("id", flat=True)
        return set(task_ids) - set(live)
    except DatabaseError:
        logger.warning("The tasks that are waited for could not be read.", exc_info=True)
        connections.close_all()
        return set()


_waiting_room = _WaitingRoom()
