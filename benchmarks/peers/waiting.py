"""How a producer of a peer waits for what only the store knows."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_SECONDS = 120
POLL_SECONDS = 0.01


def until(condition: Callable[[], bool]) -> None:
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if time.monotonic() > give_up_at:
            raise TimeoutError("Not all results came in time.")
        time.sleep(POLL_SECONDS)
