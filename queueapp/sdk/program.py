"""A worker as a program: its signals and its exit status."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import TYPE_CHECKING, Any

from queueapp.sdk.errors import Refused

if TYPE_CHECKING:
    from queueapp.sdk.worker import Worker

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
EXIT_UNFINISHED = 3
EXIT_AFTER_SIGNAL = 128


def run(worker: Worker, url: str, token: str, **options: Any) -> None:
    """As `Worker.run` says."""
    try:
        asyncio.run(serve_with_signals(worker, url, token, **options))
    except Refused as refusal:
        raise SystemExit(str(refusal)) from None


async def serve_with_signals(worker: Worker, url: str, token: str, **options: Any) -> None:
    """Raises SystemExit unless the worker was drained and finished what it held."""
    loop = asyncio.get_running_loop()
    serving = asyncio.ensure_future(worker.serve(url, token, **options))
    received: list[signal.Signals] = []

    def on_signal(number: signal.Signals) -> None:
        received.append(number)
        match len(received):
            case 1:
                print("Draining: finishing what runs. Once more to stop at once.", file=sys.stderr)
                worker.drain()
            case 2:
                print("Stopping: giving back what runs.", file=sys.stderr)
                worker.stop()
            case _:
                serving.cancel()

    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, on_signal, number)
    try:
        await serving
    except asyncio.CancelledError:
        if len(received) < 2:
            raise
    finally:
        for number in STOP_SIGNALS:
            loop.remove_signal_handler(number)
    status = EXIT_AFTER_SIGNAL + received[-1] if len(received) > 1 else 0
    if worker.tally.unfinished:
        status = EXIT_UNFINISHED
    if worker.hangs:
        leave(status)
    if status:
        raise SystemExit(status)


def leave(status: int) -> None:
    """End at once. Not by the interpreter's own end, which aborts when the thread of a handler that still runs
    holds the lock of stdout."""
    sys.stderr.flush()
    os._exit(status)
