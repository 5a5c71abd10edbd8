"""Registers handlers and serves them."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from queueapp.domain.matching import Subscription
from queueapp.sdk.backoff import ReconnectBackoff
from queueapp.sdk.connection import Connection, endpoint
from queueapp.sdk.errors import Refused
from queueapp.sdk.handlers import Criteria, Handlers
from queueapp.sdk.runner import Runner

F = TypeVar("F", bound=Callable[..., Any])

FRAME_LIMIT_BYTES = 1024 * 1024
RESEND_SECONDS = 10.0
PREFETCH_FACTOR = 2
"""Tasks held for each place: one is at work while the next is already there."""
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
EXIT_AFTER_SIGNAL = 128


class Worker:
    """Handlers for tasks, each with a filter.

    `@worker.task("tag", cloud=["aws", "gcp"])` registers a function that takes a `Task` and returns the
    result, any JSON. A plain function runs in a thread, an `async def` one on the event loop. What it raises
    is the task's error; `Retry` and `Reject` also say whether another attempt makes sense.
    """

    def __init__(self) -> None:
        self._handlers = Handlers()
        self._connection: Connection | None = None

    @property
    def subscriptions(self) -> tuple[Subscription, ...]:
        return tuple(self._handlers)

    def task(
        self, name: str, filter: Criteria | None = None, /, **criteria: str | list[str] | tuple[str, ...]
    ) -> Callable[[F], F]:
        """Register the decorated function. `filter` takes criteria whose names are no Python identifiers.

        ValueError when the name or the filter cannot be registered, or already is.
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
        backoff: ReconnectBackoff | None = None,
        resend_seconds: float = RESEND_SECONDS,
        frame_limit_bytes: int = FRAME_LIMIT_BYTES,
    ) -> None:
        """Attach to the server at `url` with an API key and perform tasks until drained.

        `name`: a label for operators. `concurrency`: tasks performed at a time (default: one a CPU).
        `max_outstanding`: tasks held, those waiting here included (default: twice the concurrency).
        `frame_limit_bytes`: the server's limit for a frame; a larger result is an error of its task.
        Raises Refused when the server will not have this worker, ValueError for unusable arguments.
        """
        if not self._handlers:
            raise ValueError("The worker has no handlers: register one with @worker.task(name).")
        places = concurrency or os.cpu_count() or 1
        held = max_outstanding or PREFETCH_FACTOR * places
        runner = Runner(places, frame_limit_bytes)
        self._connection = Connection(
            endpoint(url, name=name, max_outstanding=held),
            token,
            self._handlers,
            runner,
            backoff=backoff or ReconnectBackoff(),
            resend_seconds=resend_seconds,
            frame_limit_bytes=frame_limit_bytes,
        )
        try:
            await self._connection.serve()
        finally:
            self._connection = None
            runner.close()

    def drain(self) -> None:
        """Have `serve` take no more tasks, finish what runs and return. On the event loop's thread."""
        if self._connection is not None:
            self._connection.drain()

    def run(self, url: str, token: str, **options: Any) -> None:
        """`serve` as a program: the first SIGTERM or SIGINT drains, a second one stops at once.

        `options` are those of `serve`. Returns when drained; raises SystemExit with a message when the
        server refuses the worker, and with 128 + the signal's number after a second signal.
        """
        try:
            asyncio.run(self._serve_with_signals(url, token, options))
        except Refused as refusal:
            raise SystemExit(str(refusal)) from None

    async def _serve_with_signals(self, url: str, token: str, options: dict[str, Any]) -> None:
        loop = asyncio.get_running_loop()
        serving = asyncio.ensure_future(self.serve(url, token, **options))
        received: list[signal.Signals] = []

        def on_signal(number: signal.Signals) -> None:
            received.append(number)
            if len(received) == 1:
                print("Draining: finishing what runs. Once more to stop at once.", file=sys.stderr)
                self.drain()
            else:
                serving.cancel()

        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, on_signal, number)
        try:
            await serving
        except asyncio.CancelledError:
            if len(received) < 2:
                raise
            raise SystemExit(EXIT_AFTER_SIGNAL + received[-1]) from None
        finally:
            for number in STOP_SIGNALS:
                loop.remove_signal_handler(number)
