"""Starts a worker program anew when its source changes, for those who are writing it."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

log = logging.getLogger("queueapp.sdk")

LOOK_AGAIN_SECONDS = 0.3
LEFT_OUT = ("node_modules", "site-packages", "__pycache__")


class Sources:
    """The Python files below a directory. `has_changed` is whether one is there, gone or written since."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._seen = self._look()

    @property
    def has_changed(self) -> bool:
        return self._look() != self._seen

    def wait(self) -> None:
        while not self.has_changed:
            time.sleep(LOOK_AGAIN_SECONDS)

    async def watch(self, tell: Callable[[], None]) -> None:
        """Call `tell` at the first change."""
        while not await asyncio.to_thread(lambda: self.has_changed):  # noqa: ASYNC110 - nobody tells us of files
            await asyncio.sleep(LOOK_AGAIN_SECONDS)
        log.info("The source has changed: starting anew")
        tell()

    def _look(self) -> dict[str, int]:
        return dict(self._files())

    def _files(self) -> Iterator[tuple[str, int]]:
        for directory, below, names in os.walk(self._directory):
            below[:] = [each for each in below if not each.startswith(".") and each not in LEFT_OUT]
            for path in (os.path.join(directory, name) for name in names if name.endswith(".py")):  # noqa: PTH118
                try:
                    yield path, os.stat(path).st_mtime_ns  # noqa: PTH116 - thousands, several times a second
                except OSError:
                    continue  # it has gone meanwhile


class Restart:
    """Of a worker, which first finishes what it holds."""

    def __init__(self, drain: Callable[[], None]) -> None:
        self._drain = drain
        self._is_wanted = False

    def ask(self) -> None:
        self._is_wanted = True
        self._drain()

    def make(self) -> None:
        """If it was asked for."""
        if self._is_wanted:
            start_anew()


def start_anew() -> None:
    """This process becomes a new one of the same command."""
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
