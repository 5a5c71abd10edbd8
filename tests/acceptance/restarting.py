"""Servers and workers that are ended and started again, each in its own time, so that their restarts overlap."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.acceptance.processes import PATIENCE_SECONDS, ROOT
from tests.servers import Leash

LONGEST_BETWEEN_SIGNALS_SECONDS = 0.3
LOOK_AGAIN_SECONDS = 0.02

ENDS = (
    (signal.SIGKILL,),
    (signal.SIGTERM,),
    (signal.SIGINT,),
    (signal.SIGTERM, signal.SIGTERM),
    (signal.SIGTERM, signal.SIGKILL),
)
"""The signals of which one ends, after each of which it may have ended."""


class Nursery:
    """Starts processes with one environment. See nursery.py."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.acceptance.nursery"],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self._leash = Leash()
        self._leash.hold(self._process.pid)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        """All that was started ends with it."""
        self._process.communicate(timeout=PATIENCE_SECONDS)
        self._leash.close()

    def start(self, kind: str, log: Path, *arguments: str) -> Child:
        return Child(self, self.order(kind, str(log), *arguments))

    def order(self, *words: str | int) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(words) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())


class Child:
    """One process of a nursery."""

    def __init__(self, nursery: Nursery, pid: int) -> None:
        self._nursery = nursery
        self._pid = pid
        self._descriptor = os.pidfd_open(pid)
        self._over = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._descriptor, self._note_end)

    @property
    def is_over(self) -> bool:
        return self._over.is_set()

    def send(self, number: signal.Signals) -> None:
        if not self.is_over:
            signal.pidfd_send_signal(self._descriptor, number)

    async def ended(self, within_seconds: float) -> bool:
        try:
            async with asyncio.timeout(within_seconds):
                await self._over.wait()
        except TimeoutError:
            return False
        return True

    def status(self) -> int:
        """Once, of one that has ended."""
        return self._nursery.order("status", self._pid)

    def _note_end(self) -> None:
        asyncio.get_running_loop().remove_reader(self._descriptor)
        os.close(self._descriptor)
        self._over.set()


@dataclass(frozen=True, slots=True)
class End:
    """`signals`: those that were sent until it had ended. `wrong`: what should not be so, or nothing."""

    signals: tuple[signal.Signals, ...]
    wrong: str


class Victim:
    """A server or a worker over all its restarts."""

    def __init__(self, start: Callable[[], Child], log: Path, at_work: str | None, stopped_with: int) -> None:
        """`at_work` is what it logs when it is; None: it may be struck before. `stopped_with`: its exit status
        after a second signal in time."""
        self.log = log
        log.touch()
        self._start = start
        self._at_work = at_work
        self._stopped_with = stopped_with
        self._child: Child | None = None

    async def rise(self) -> str:
        """Start it, and wait until it is at its work. The line in which it says so."""
        with self.log.open() as log:
            log.seek(0, os.SEEK_END)
            self._child = self._start()
            said = ""
            async with asyncio.timeout(PATIENCE_SECONDS):
                while self._at_work is not None:
                    said += log.read()
                    for line in said.splitlines(keepends=True):
                        if self._at_work in line and line.endswith("\n"):
                            return line
                    if await self._child.ended(within_seconds=LOOK_AGAIN_SECONDS):
                        raise AssertionError(f"{self.log}: it ended while it started: {said}")
        return ""

    async def end(self, dice: random.Random) -> End:
        assert self._child is not None
        assert not self._child.is_over, f"{self.log}: it ended by itself, with {self._child.status()}"
        sent: list[signal.Signals] = []
        for number in dice.choice(ENDS):
            if sent and await self._child.ended(dice.uniform(0, LONGEST_BETWEEN_SIGNALS_SECONDS)):
                break
            self._child.send(number)
            sent.append(number)
        assert await self._child.ended(PATIENCE_SECONDS), f"{self.log}: it does not end after {sent}"
        status, usual = self._child.status(), self._usual_statuses(sent)
        wrong = "" if status in usual else f"{self.log}: exit status {status} after {sent}, not one of {usual}"
        return End(tuple(sent), wrong)

    def _usual_statuses(self, sent: Sequence[signal.Signals]) -> set[int]:
        if sent[0] == signal.SIGKILL:
            return {-signal.SIGKILL}
        too_early = {-sent[0]} if self._at_work is None else set()
        if len(sent) == 1:
            return {0} | too_early
        # The second may come when it has all but ended, and nobody listens to signals any more.
        return {0, -sent[1], self._stopped_with} | too_early
