"""Waiting for tasks to end: woken by the doorbell, with one slow poll behind it for all who wait.

Who is going to wait listens before it reads, or makes, the task, so that between that and the wait no end goes
unheard, and nobody need look at the task again for it: a look would be a thread and a connection more just when
the task is assigned.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from time import monotonic, sleep
from uuid import UUID

from django.db import DatabaseError, connections

from queueapp import doorbell
from queueapp.conf import config
from queueapp.models import Task

logger = logging.getLogger(__name__)

Wake = Callable[[], None]

LINGERING_SECONDS = 1.0
"""For so long the thread of the poll stays when nobody waits any more: one task after another is waited for, and
to start a thread for each is work just when the task is assigned."""


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


def number_waiting() -> int:
    """How many wait in this process."""
    return _waiting_room.number()


def waited_for() -> dict[UUID, int]:
    """For which tasks somebody waits in this process, and how many do."""
    return _waiting_room.waited_for()


class _WaitingRoom:
    """All who wait in this process, whatever their event loop.

    The poll runs on a thread of its own, which lives while somebody waits: it belongs to no event loop, so
    that loops may come and go, and a thousand who wait cost one query each interval.
    """

    def __init__(self) -> None:
        self._changed = threading.Lock()
        self._wakes: dict[UUID, list[Wake]] = {}
        self._attending: set[Listening] = set()
        self._listening = False
        self._polling = False

    def number(self) -> int:
        with self._changed:
            return sum(len(wakes) for wakes in self._wakes.values())

    def waited_for(self) -> dict[UUID, int]:
        with self._changed:
            return {task_id: len(wakes) for task_id, wakes in self._wakes.items()}

    @contextmanager
    def attended(self, listening: Listening) -> Iterator[None]:
        with self._changed:
            self._attending.add(listening)
            if not self._listening:
                doorbell.listen(self._hear)
                self._listening = True
        try:
            yield
        finally:
            self.dismiss(listening)

    def dismiss(self, listening: Listening) -> None:
        with self._changed:
            self._attending.discard(listening)

    @contextmanager
    def entered(self, task_id: UUID, wake: Wake) -> Iterator[None]:
        """Within, `wake` is called, on any thread, once the task is found to be terminal."""
        with self._changed:
            self._wakes.setdefault(task_id, []).append(wake)
            self._start()
        try:
            yield
        finally:
            with self._changed:
                self._leave(task_id, wake)

    def _leave(self, task_id: UUID, wake: Wake) -> None:
        wakes = self._wakes[task_id]
        wakes.remove(wake)
        if not wakes:
            del self._wakes[task_id]

    def _start(self) -> None:
        if not self._polling:
            self._polling = True
            threading.Thread(target=self._run, name="until-terminal", daemon=True).start()

    def _hear(self, ring: doorbell.Ring) -> None:
        if ring.ended and (self._wakes or self._attending):
            with self._changed:
                for listening in self._attending:
                    listening.hear(ring.ended)
            self._wake(ring.ended)

    def _wake(self, task_ids: Collection[UUID]) -> None:
        with self._changed:
            for task_id in self._wakes.keys() & task_ids:
                for wake in self._wakes[task_id]:
                    wake()

    def release_all(self) -> None:
        self._wake(list(self._wakes))

    def _run(self) -> None:
        try:
            self._poll()
        finally:
            connections.close_all()

    def _poll(self) -> None:
        looked_at = monotonic()
        while True:
            sleep(min(config().poll_interval_seconds, LINGERING_SECONDS))
            with self._changed:
                if not self._wakes:
                    self._polling = False
                    return
                task_ids = set(self._wakes)
            if monotonic() >= looked_at + config().poll_interval_seconds:
                looked_at = monotonic()
                self._wake(_ended_of(task_ids))


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
