"""How a producer of a peer waits for what only the store knows, and measures how long that takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

PATIENCE_SECONDS = 120
POLL_SECONDS = 0.01


T = TypeVar("T")


def until(condition: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > give_up_at:
            raise TimeoutError("Not all results came in time.")
        time.sleep(POLL_SECONDS)


def timed(publish: Callable[[], T], all_are_done: Callable[[], bool]) -> tuple[T, dict[str, object]]:
    """What was published, and how many seconds that took, and until all was done."""
    started = time.perf_counter()
    published = publish()
    submitted = time.perf_counter()
    until(all_are_done)
    ended = time.perf_counter()
    return published, {"seconds": ended - started, "submit_seconds": submitted - started}
