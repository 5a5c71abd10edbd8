"""A deterministic event loop: virtual time, several processes, and each step that of a process drawn by the seed.

Within one process callbacks run in the order in which they were scheduled, as asyncio promises; between
processes in any. Before each step a process may die: it never runs again.
"""

from __future__ import annotations

import asyncio
import heapq
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from contextvars import Context, ContextVar, copy_context
from itertools import count
from random import Random
from typing import Any

WORK_SECONDS = 0.004
"""How long the work of a thread takes at most, before and after it is done."""

MOST_STEPS = 100_000
"""Of a schedule, which has some hundred."""

_current: ContextVar[Process | None] = ContextVar("process", default=None)


class Killed(BaseException):
    """The process ends in the middle of the work of a thread."""


class Stuck(Exception):
    """Nothing is left to do, and somebody still waits; or there is no end of it."""


def current_process() -> Process | None:
    """Whose code runs now; None: the simulation's own."""
    return _current.get()


class Process:
    """What runs and ends together. `points` are the moments so far at which it might have died."""

    def __init__(self, loop: Loop, name: str) -> None:
        self.loop = loop
        self.name = name
        self.ready: deque[asyncio.Handle] = deque()
        self.is_alive = True
        self.stopped_until = 0.0
        self.points = 0
        self.dies_at: int | None = None
        self.works = 0
        self.on_death: list[Callable[[], None]] = []
        self._context = copy_context()
        self._context.run(_current.set, self)
        loop.processes.append(self)

    def context(self) -> Context:
        """What runs in it is this process's."""
        return self._context.copy()

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        return self.loop.create_task(coroutine, context=self.context())

    def kill(self) -> None:
        if self.is_alive:
            self.is_alive = False
            self.loop.processes.remove(self)
            self.loop.dead.append(self)
            for tell in self.on_death:
                tell()

    def survives(self) -> bool:
        """It reaches a point at which it may die. Whether it goes on."""
        self.points += 1
        if self.points == self.dies_at:
            self.loop.trace(f"{self.name} is killed at its point {self.points}")
            self.kill()
        return self.is_alive


class Loop(asyncio.AbstractEventLoop):
    def __init__(self, random: Random, trace: Callable[[str], None]) -> None:
        self.trace = trace
        self.processes: list[Process] = []
        self.dead: list[Process] = []
        self.failures: list[str] = []
        self.steps = 0
        self._random = random
        self._now = 0.0
        self._timers: list[tuple[float, int, asyncio.TimerHandle, Context]] = []
        self._order = count()
        self._tasks: list[asyncio.Task[Any]] = []
        self._is_closing = False
        self._outside = Process(self, "world")

    # ---- what asyncio asks of a loop

    def time(self) -> float:
        return self._now

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return not self._is_closing

    def is_closed(self) -> bool:
        return self._is_closing

    def create_future(self) -> asyncio.Future[Any]:
        return asyncio.Future(loop=self)

    def create_task(
        self, coro: Any, *, name: str | None = None, context: Context | None = None
    ) -> asyncio.Task[Any]:
        task = asyncio.Task(coro, loop=self, name=name, context=context)
        self._tasks.append(task)
        return task

    def call_soon(
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        context = copy_context() if context is None else context
        handle = asyncio.Handle(callback, args, self, context)
        self._admit(handle, context)
        return handle

    call_soon_threadsafe = call_soon

    def call_later(
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        context = copy_context() if context is None else context
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, next(self._order), handle, context))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It is passed over when its time comes."""

    def run_in_executor(self, executor: object, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:
        """The work of a thread is one step, some time from now; what it came to is known some time later. The
        process may die before, between its transactions (see `database`) and after."""
        future = self.create_future()
        if self._is_closing:
            future.cancel()
            return future
        self.call_later(self._random.random() * WORK_SECONDS, self._work, future, func, args)
        return future

    def _work(self, future: asyncio.Future[Any], func: Callable[..., Any], args: tuple[Any, ...]) -> None:
        process = current_process()
        if process is not None:
            process.works += 1
        settle: Callable[..., None]
        try:
            with self.as_on_a_thread():
                settle, outcome = _set_result, func(*args)
        except Killed:
            return
        except Exception as error:
            settle, outcome = _set_exception, error
        self.call_later(self._random.random() * WORK_SECONDS, settle, future, outcome)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.failures.append(f"{context.get('message')}: {context.get('exception')!r}")

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        self.call_exception_handler(context)

    @contextmanager
    def as_on_a_thread(self) -> Iterator[None]:
        """Where no loop runs, and one may ask the database."""
        asyncio._set_running_loop(None)
        try:
            yield
        finally:
            asyncio._set_running_loop(self)

    # ---- the schedule

    def run_until(self, awaited: asyncio.Future[Any]) -> Any:
        asyncio._set_running_loop(self)
        try:
            while not awaited.done():
                self._step()
        finally:
            asyncio._set_running_loop(None)
        return awaited.result()

    def close(self) -> None:
        """End the coroutines of the living and the dead, so that none is left for the garbage collector. What
        they do about it reaches nobody."""
        self._is_closing = True
        for process in (*self.processes[1:], *self.dead):
            self._outside.ready += process.ready
        asyncio._set_running_loop(self)
        try:
            while pending := [task for task in self._tasks if not task.done()]:
                for task in pending:
                    task.cancel()
                while self._outside.ready:
                    self._outside.ready.popleft()._run()
        finally:
            asyncio._set_running_loop(None)

    def _step(self) -> None:
        self._ring_timers()
        runnable = [each for each in self.processes if each.ready and each.stopped_until <= self._now]
        if not runnable:
            self._pass_time()
            return
        process = runnable[0] if len(runnable) == 1 else self._random.choice(runnable)
        if process is not self._outside and not process.ready[0]._cancelled and not process.survives():
            return
        handle = process.ready.popleft()
        if not handle._cancelled:
            self.steps += 1
            if self.steps > MOST_STEPS:
                raise Stuck
            handle._run()

    def _ring_timers(self) -> None:
        while self._timers and self._timers[0][0] <= self._now:
            _, _, handle, context = heapq.heappop(self._timers)
            if not handle._cancelled:
                self._admit(handle, context)

    def _pass_time(self) -> None:
        """To the next moment at which something can happen."""
        while self._timers and self._timers[0][2]._cancelled:
            heapq.heappop(self._timers)
        moments = [each.stopped_until for each in self.processes if each.ready]
        if self._timers:
            moments.append(self._timers[0][0])
        if not moments:
            raise Stuck
        self._now = max(self._now, min(moments))

    def _admit(self, handle: asyncio.Handle, context: Context) -> None:
        process = self._outside if self._is_closing else context.get(_current) or self._outside
        process.ready.append(handle)


def _set_result(future: asyncio.Future[Any], value: Any) -> None:
    if not future.done():
        future.set_result(value)


def _set_exception(future: asyncio.Future[Any], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
