"""Executes the tasks that a worker holds, so many at a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from queueapp.sdk.attempt import Attempt, Key
from queueapp.sdk.framelimit import FrameLimit
from queueapp.sdk.handlers import AsyncHandler, SyncHandler
from queueapp.sdk.messages import ResultMessage
from queueapp.sdk.performing import Performer
from queueapp.sdk.task import LOST

log = logging.getLogger("queueapp.sdk")

TIMEOUT = "timeout"

PATIENCE_WITH_WAITING = 0.5
"""Of its timeout a task waits here for a free place. Then it is given back, which costs it nothing, while there is
time enough: others may be idle, and a time-out here would be counted against a task that nobody has begun."""


class Runner:
    """Belongs to the worker, not to a connection: handlers outlive the connection that brought their task.

    A handler has its place until it ends or has been silent for its task's timeout. Then it is cancelled; if it
    has not ended `grace_seconds` later it is left to itself, and the place serves the next task.
    """

    def __init__(
        self, concurrency: int, frame_limit: FrameLimit, grace_seconds: float, left_alone: Callable[[int], None]
    ) -> None:
        """`left_alone` is told, of each handler that is left to itself, how many there are now."""
        self._concurrency = concurrency
        self._grace_seconds = grace_seconds
        self._tell_left_alone = left_alone
        self._loop = asyncio.get_running_loop()
        self._performer = Performer(frame_limit)
        self._waiting: dict[Key, Attempt] = {}
        self._running: dict[Key, Attempt] = {}
        self._left_alone: set[asyncio.Task[ResultMessage]] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    @property
    def running(self) -> int:
        return len(self._running)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def hanging(self) -> int:
        """Handlers that have not ended: those that were left alone, and what runs when nobody waits any longer."""
        return self.left_alone + len(self._running)

    @property
    def left_alone(self) -> int:
        """Handlers that have lost their place and have not ended since."""
        return len(self._left_alone) + self._performer.hanging_threads

    async def wait_until_idle(self) -> None:
        await self._idle.wait()

    def accept(self, attempt: Attempt) -> None:
        """Run it as soon as there is a free place, in the order of acceptance."""
        self._idle.clear()
        self._waiting[attempt.key] = attempt
        self._start_waiting()
        if attempt.run is None:
            patience_seconds = attempt.task.timeout_seconds * PATIENCE_WITH_WAITING
            attempt.timer = self._loop.call_later(patience_seconds, self._waited_too_long, attempt)

    def cancel(self, key: Key, reason: str) -> bool:
        """Drop a task that has not begun; cancel an async handler, tell a sync one. Whether it had begun."""
        waiting = self._waiting.pop(key, None)
        if waiting is not None:
            waiting.stop_timer()
            self._note_idle()
            return False
        if key in self._running:
            self._tell(self._running[key], reason)
        return True

    def lose(self) -> None:
        """The connection that brought all this is gone, and others have it: no more is to be done about it."""
        self.take_back_waiting()
        self.cancel_running(LOST)

    def cancel_running(self, reason: str) -> None:
        for attempt in list(self._running.values()):
            self._tell(attempt, reason)

    def take_back_waiting(self) -> list[Key]:
        """Empty the local queue: what was in it will not be run."""
        for attempt in self._waiting.values():
            attempt.stop_timer()
        keys = list(self._waiting)
        self._waiting.clear()
        self._note_idle()
        return keys

    def close(self) -> None:
        """Let the threads go. Async handlers that still run are cancelled."""
        for attempt in self._running.values():
            attempt.stop_timer()
            attempt.pulse.end()
        for run in [*self._left_alone, *(each.run for each in self._running.values())]:
            if run is not None:
                run.cancel()
        self._performer.close()

    # ---- places

    def _start_waiting(self) -> None:
        while len(self._running) < self._concurrency and (key := self._next_waiting()) is not None:
            attempt = self._waiting.pop(key)
            attempt.stop_timer()
            self._running[attempt.key] = attempt
            attempt.pulse.start()
            performing = self._performer.perform(attempt.handler, attempt.task)
            attempt.run = self._loop.create_task(performing, name=f"task {attempt.task.id}")
            attempt.run.add_done_callback(partial(self._ended, attempt))
            attempt.timer = self._loop.call_at(attempt.pulse.deadline, self._look_at, attempt)

    def _next_waiting(self) -> Key | None:
        """Not one whose handler is still at the same attempt, which came over a connection that was lost."""
        return next((key for key in self._waiting if key not in self._running), None)

    def _waited_too_long(self, attempt: Attempt) -> None:
        del self._waiting[attempt.key]
        self._note_idle()
        attempt.holder.waited_too_long(attempt.key)

    def _look_at(self, attempt: Attempt) -> None:
        """Its timeout has passed since it began or gave the sign of life that was known then."""
        if attempt.pulse.deadline > self._loop.time():
            attempt.timer = self._loop.call_at(attempt.pulse.deadline, self._look_at, attempt)
            return
        self._tell(attempt, TIMEOUT)
        attempt.timer = self._loop.call_later(self._grace_seconds, self._leave_alone, attempt)

    def _leave_alone(self, attempt: Attempt) -> None:
        log.error("The handler of %r hangs: its place is given to others", attempt.task)
        assert attempt.run is not None
        self._left_alone.add(attempt.run)
        self._tell_left_alone(self.left_alone)
        if isinstance(attempt.handler, SyncHandler):
            attempt.run.cancel()
        self._vacate(attempt, None)

    def _ended(self, attempt: Attempt, run: asyncio.Task[ResultMessage]) -> None:
        if run in self._left_alone:
            self._left_alone.discard(run)
        elif run.cancelled():
            self._vacate(attempt, None)
        else:
            self._vacate(attempt, run.result())

    def _vacate(self, attempt: Attempt, message: ResultMessage | None) -> None:
        attempt.stop_timer()
        attempt.pulse.end()
        del self._running[attempt.key]
        attempt.holder.concluded(attempt.key, None if attempt.task.cancelled else message)
        self._start_waiting()
        self._note_idle()

    def _note_idle(self) -> None:
        if not self._running and not self._waiting:
            self._idle.set()

    def _tell(self, attempt: Attempt, reason: str) -> None:
        attempt.task.cancel(reason)
        run = attempt.run
        # Once: a second time would hit the handler while it tidies up.
        if isinstance(attempt.handler, AsyncHandler) and run is not None and not run.cancelling():
            run.cancel()
