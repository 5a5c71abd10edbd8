"""Registers handlers and serves them."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, TypeVar

from queueapp.domain.matching import Subscription
from queueapp.sdk import program
from queueapp.sdk.backoff import ReconnectBackoff
from queueapp.sdk.connection import Connection, endpoint
from queueapp.sdk.errors import HandlersHang
from queueapp.sdk.framelimit import FrameLimit
from queueapp.sdk.handlers import Criteria, Handler, Handlers
from queueapp.sdk.runner import Runner
from queueapp.sdk.tally import Tally

log = logging.getLogger("queueapp.sdk")

F = TypeVar("F", bound=Callable[..., Any])

FRAME_LIMIT_BYTES = 1024 * 1024
RESEND_SECONDS = 10.0
GRACE_SECONDS = 5.0
HANGING_LIMIT = 20
PREFETCH_FACTOR = 2
"""Tasks held for each place: one is at work while the next is already there."""


class Worker:
    """Handlers for tasks, each with a filter.

    `@worker.task("tag", cloud=["aws", "gcp"])` registers a function that takes a `Task`, or its payload as the
    type that the annotation says, or both, and returns the result: any JSON, or typed objects that can become it.
    A plain function runs in a thread, an `async def` one on the event loop. What it raises is the task's error;
    `Retry` and `Reject` also say whether another attempt makes sense.
    """

    def __init__(self) -> None:
        self._handlers = Handlers()
        self._connection: Connection | None = None
        self._runner: Runner | None = None
        self._hanging = 0
        self.tally = Tally()

    @property
    def subscriptions(self) -> tuple[Subscription, ...]:
        return tuple(self._handlers)

    @property
    def handlers(self) -> Iterable[tuple[Subscription, Handler]]:
        return self._handlers.items()

    @property
    def load(self) -> tuple[int, int]:
        """How many tasks it performs now, and how many wait here for a place."""
        return (self._runner.running, self._runner.waiting) if self._runner is not None else (0, 0)

    @property
    def hangs(self) -> bool:
        """After `serve`: whether a handler still runs, for which neither the loop nor the interpreter can end."""
        return self._runner is not None and self._runner.hanging > 0

    def find(self, name: str, attrs: Mapping[str, str]) -> Handler | None:
        """The handler that performs such a task."""
        return self._handlers.find(name, attrs)

    def task(
        self, name: str, filter: Criteria | None = None, /, **criteria: str | list[str] | tuple[str, ...]
    ) -> Callable[[F], F]:
        """Register the decorated function. `filter` takes criteria whose names are no Python identifiers.

        ValueError when the name or the filter cannot be registered, or already is, or when the function's
        parameters do not say what it takes.
        """

        def register(function: F) -> F:
            self._handlers.add(name, {**(filter or {}), **criteria}, function)
            return function

        return register

    def include(self, other: Worker) -> None:
        """Take over the handlers of another worker."""
        self._handlers.include(other._handlers)

    async def serve(
        self,
        url: str,
        token: str,
        *,
        name: str = "",
        max_outstanding: int | None = None,
        concurrency: int | None = None,
        once: bool = False,
        drain_timeout: float | None = None,
        backoff: ReconnectBackoff | None = None,
        resend_seconds: float = RESEND_SECONDS,
        grace_seconds: float = GRACE_SECONDS,
        hanging_limit: int = HANGING_LIMIT,
        frame_limit_bytes: int = FRAME_LIMIT_BYTES,
    ) -> None:
        """Attach to the server at `url` with an API key and perform tasks until drained.

        `name`: a label for operators. `concurrency`: tasks performed at a time (default: one a CPU).
        `max_outstanding`: tasks held, those waiting here included (default: twice the concurrency).
        `once`: drain after the first task. `drain_timeout`: seconds after which a drain gives back what still runs
        (default: it waits). `grace_seconds`: how long a handler that was cancelled at its timeout may take to end
        before its place is given to others. `hanging_limit`: when so many have not ended even then, the worker
        drains and leaves. `frame_limit_bytes`: the server's limit for a frame; a larger result is an error of its
        task. Where the server takes less, the worker learns that from its close code (1009).
        Raises Refused when the server will not have this worker, HandlersHang when it has left because of these,
        ValueError for unusable arguments.
        """
        if not self._handlers:
            raise ValueError("The worker has no handlers: register one with @worker.task(name).")
        places = 1 if once else concurrency or os.cpu_count() or 1
        held = 1 if once else max_outstanding or PREFETCH_FACTOR * places
        frame_limit = FrameLimit(frame_limit_bytes)
        self._hanging = 0
        self._runner = Runner(places, frame_limit, grace_seconds, partial(self._left_alone, hanging_limit))
        self._connection = Connection(
            endpoint(url, name=name, max_outstanding=held),
            token,
            self._handlers,
            self._runner,
            self.tally,
            backoff=backoff or ReconnectBackoff(),
            resend_seconds=resend_seconds,
            frame_limit=frame_limit,
            drain_timeout=drain_timeout,
            once=once,
        )
        try:
            await self._connection.serve()
        finally:
            self._connection = None
            self._runner.close()
        if self._hanging:
            raise HandlersHang(self._hanging)

    def drain(self) -> None:
        """Have `serve` take no more tasks, finish what runs and return. On the event loop's thread."""
        if self._connection is not None:
            self._connection.drain()

    def stop(self) -> None:
        """Have `serve` give back what runs too, and return. On the event loop's thread."""
        if self._connection is not None:
            self._connection.stop()

    def _left_alone(self, limit: int, count: int) -> None:
        """Only the end of the process ends a thread: without a limit they would fill its memory unseen."""
        if count >= limit:
            if not self._hanging:
                log.error(
                    "Handlers hang (%d): this worker takes no more tasks, and leaves to be started anew", count
                )
            self._hanging = count
            self.drain()

    def run(self, url: str, token: str, **options: Any) -> None:
        """`serve` as a program: the first SIGTERM or SIGINT drains, a second one stops, a third does not wait.

        `options` are those of `serve`. Returns when drained; raises SystemExit with a message when the server
        refuses the worker, with 3 when a drain took too long, with 4 when it left because handlers hang, and with
        128 + the signal's number after a second signal.
        """
        program.run(self, url, token, **options)
