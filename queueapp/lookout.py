"""All in a process who want to hear of tasks: the doorbell tells them, and one slow poll behind it for all."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from time import monotonic, sleep
from typing import Generic, TypeVar
from uuid import UUID

from django.db import connections

from queueapp import doorbell
from queueapp.conf import config

Guest = TypeVar("Guest")

LINGERING_SECONDS = 1.0
"""For so long the thread of the poll stays when nobody waits any more: one task after another is waited for, and
to start a thread for each is work just when the task is assigned."""


class Lookout(Generic[Guest]):
    """Whatever the event loop of those who wait: the poll runs on a thread of its own, which lives while somebody
    does. It belongs to no event loop, so that loops may come and go, and a thousand who wait cost what one does.

    What a guest is, how it is woken and what is looked at is for the subclasses to say; where they are asked with
    the lock held, it says so.
    """

    def __init__(self, name: str) -> None:
        """`name`: of the thread."""
        self._name = name
        self._changed = threading.RLock()
        self._guests: dict[UUID, list[Guest]] = {}
        self._listening = False
        self._polling = False
        self._is_open = True

    def number(self) -> int:
        with self._changed:
            return sum(len(guests) for guests in self._guests.values())

    @contextmanager
    def entered(self, task_id: UUID, guest: Guest) -> Iterator[None]:
        """Within, the guest is woken, on any thread, when there is news of the task."""
        with self._changed:
            self._guests.setdefault(task_id, []).append(guest)
            self._note(task_id, guest)
            if not self._is_open:
                self._release(guest)
            self._listen()
            self._start()
        try:
            yield
        finally:
            with self._changed:
                guests = self._guests[task_id]
                guests.remove(guest)
                if not guests:
                    del self._guests[task_id]
                    self._forget(task_id)

    def release_all(self) -> None:
        """Let all go who are here now: the process is about to end."""
        with self._changed:
            for guests in self._guests.values():
                for guest in guests:
                    self._release(guest)

    def close(self) -> None:
        """Let all go, and who comes from now on, at once."""
        with self._changed:
            self._is_open = False
            self.release_all()

    # ---- for the subclasses

    def _note(self, task_id: UUID, guest: Guest) -> None:
        """One has come. With the lock held."""

    def _forget(self, task_id: UUID) -> None:
        """The last one of a task has gone. With the lock held."""

    def _wake_one(self, guest: Guest) -> None:
        """With the lock held."""
        raise NotImplementedError

    def _release(self, guest: Guest) -> None:
        """Nothing more will be told. With the lock held."""
        self._wake_one(guest)

    def _next_look(self) -> Callable[[], None]:
        """What to do each interval without the lock, decided with the lock held."""
        raise NotImplementedError

    # ---- the same for all

    def _wake(self, task_ids: Collection[UUID]) -> None:
        with self._changed:
            for task_id in self._guests.keys() & task_ids:
                for guest in self._guests[task_id]:
                    self._wake_one(guest)

    def _listen(self) -> None:
        if not self._listening:
            doorbell.listen(self._hear)
            self._listening = True

    def _start(self) -> None:
        if not self._polling:
            self._polling = True
            threading.Thread(target=self._run, name=self._name, daemon=True).start()

    def _hear(self, ring: doorbell.Ring) -> None:
        if ring.ended and self._guests:
            self._wake(ring.ended)

    def _run(self) -> None:
        try:
            self._poll()
        except BaseException:
            with self._changed:
                self._polling = False  # the next who comes starts another
            raise
        finally:
            connections.close_all()

    def _poll(self) -> None:
        looked_at = monotonic()
        while True:
            sleep(min(config().poll_interval_seconds, LINGERING_SECONDS))
            with self._changed:
                if not self._guests:
                    self._polling = False
                    return
                look = self._next_look()
            if monotonic() >= looked_at + config().poll_interval_seconds:
                looked_at = monotonic()
                look()
