"""A worker as a program: its signals and its exit status."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any

from queueapp.sdk.errors import HandlersHang, Refused

if TYPE_CHECKING:
    from queueapp.sdk.worker import Worker

log = logging.getLogger("queueapp.sdk")

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
EXIT_UNFINISHED = 3
EXIT_HANGING = 4
EXIT_AFTER_SIGNAL = 128


def run(
    worker: Worker,
    url: str,
    token: str,
    beside: Iterable[Coroutine[Any, Any, None]] = (),
    and_then: Callable[[], None] = lambda: None,
    **options: Any,
) -> None:
    """As `Worker.run` says. What runs `beside` it ends with it; `and_then`: what to do where it ended without a
    signal, though a handler may still hang."""
    try:
        asyncio.run(_serve_with_signals(worker.serve(url, token, **options), worker, beside, and_then))
    except Refused as refusal:
        raise SystemExit(str(refusal)) from None


async def _serve_with_signals(
    service: Coroutine[Any, Any, None],
    worker: Worker,
    beside: Iterable[Coroutine[Any, Any, None]],
    and_then: Callable[[], None],
) -> None:
    """Raises SystemExit unless the worker was drained and finished what it held."""
    loop = asyncio.get_running_loop()
    companions = [asyncio.create_task(each) for each in beside]
    serving = asyncio.create_task(service)
    received: list[signal.Signals] = []

    def on_signal(number: signal.Signals) -> None:
        received.append(number)
        match len(received):
            case 1:
                log.warning("Draining: finishing what runs. Once more to stop at once.")
                worker.drain()
            case 2:
                log.warning("Stopping: giving back what runs.")
                worker.stop()
            case _:
                serving.cancel()

    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, on_signal, number)
    status = 0
    try:
        await serving
    except HandlersHang:  # which it said when it began to leave
        status = EXIT_HANGING
    except asyncio.CancelledError:
        if len(received) < 2:
            raise
    finally:
        for number in STOP_SIGNALS:
            loop.remove_signal_handler(number)
        for each in companions:
            each.cancel()
        await asyncio.gather(*companions, return_exceptions=True)
    if not received:
        and_then()
    if len(received) > 1:
        status = EXIT_AFTER_SIGNAL + received[-1]
    if worker.tally.unfinished:
        status = EXIT_UNFINISHED
    if worker.hangs:
        _leave(status)
    if status:
        raise SystemExit(status)


def _leave(status: int) -> None:
    """End at once. Not by the interpreter's own end, which aborts when the thread of a handler that still runs
    holds the lock of stdout."""
    sys.stderr.flush()
    os._exit(status)
