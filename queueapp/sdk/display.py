"""What a worker program shows: a banner when it starts, and on a terminal a line that says how it goes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TextIO

from queueapp.domain.matching import Subscription
from queueapp.sdk.handlers import AsyncHandler, Handler
from queueapp.sdk.worker import Worker

REFRESH_SECONDS = 0.5
ERASE_LINE = "\r\x1b[K"


def banner(worker: Worker, name: str, url: str) -> str:
    """Who it is and what it performs."""
    lines = [f"Worker {name or '(no name)'} at {url}"]
    return "\n".join(lines + [f"  {_described(*each)}" for each in worker.handlers])


def progress(worker: Worker) -> str:
    """How it goes, in a line."""
    tally, (running, waiting) = worker.tally, worker.load
    parts = ["attached" if tally.is_attached else "not attached", f"{running} running", f"{waiting} waiting"]
    parts.append(f"{tally.done} done")
    counted = {"failed": tally.failed, "given back": tally.given_back, "lost": tally.lost}
    return " · ".join(parts + [f"{number} {what}" for what, number in counted.items() if number])


class ProgressLine:
    """The last line of a terminal. It makes room for whatever else is to be written there."""

    def __init__(self, terminal: TextIO) -> None:
        self._terminal = terminal
        self._is_shown = False

    async def follow(self, worker: Worker) -> None:
        """Until it is cancelled."""
        try:
            while True:
                self._terminal.write(f"{ERASE_LINE}{progress(worker)}")
                self._terminal.flush()
                self._is_shown = True
                await asyncio.sleep(REFRESH_SECONDS)
        finally:
            self.make_room()

    def make_room(self) -> None:
        if self._is_shown:
            self._is_shown = False
            self._terminal.write(ERASE_LINE)
            self._terminal.flush()


def _described(subscription: Subscription, handler: Handler) -> str:
    where = "on the loop" if isinstance(handler, AsyncHandler) else "in a thread"
    return f"{subscription.name} {_filter(subscription.criteria)}→ {handler.label}, {where}"


def _filter(criteria: Iterable[tuple[str, frozenset[str]]]) -> str:
    return "".join(f"{criterion}={','.join(sorted(values))} " for criterion, values in criteria)
