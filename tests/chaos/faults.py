"""The storm: every two seconds something is killed, frozen or restarted, as a seeded dice says."""

from __future__ import annotations

import asyncio
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.acceptance.processes import Server
from tests.chaos.site import Site, WorkerProcess

EVERY_SECONDS = 2.0

Fault = Callable[[Any], Awaitable[None]]


@dataclass
class Spell:
    """From when to when a fault had its victim."""

    kind: str
    number: int
    began: datetime
    ended: datetime = field(default=datetime.max.replace(tzinfo=UTC))


class Storm:
    """Faults overlap; only what already suffers one is spared a second. Each ends with its victim running."""

    def __init__(self, site: Site, dice: random.Random, longest_freeze_seconds: float) -> None:
        self.counts: Counter[str] = Counter()
        self.history: list[str] = []
        self.spells: list[Spell] = []
        self.deserters: list[str] = []
        """Who was found dead before the fault that was meant for it."""
        self._site = site
        self._dice = dice
        self._longest_freeze_seconds = longest_freeze_seconds
        self._suffering: set[int] = set()
        self._under_way: set[asyncio.Task[None]] = set()
        self._kinds: dict[str, tuple[list[Any], Fault]] = {
            "server killed": (site.servers, self._kill_server),
            "server frozen": (site.servers, self._freeze_server),
            "server terminated": (site.servers, self._terminate_server),
            "worker killed": (site.workers, self._kill_worker),
            "worker frozen": (site.workers, self._freeze_worker),
            "redis killed": ([site.redis], self._kill_redis),
            "postgresql killed": ([site.postgres], self._kill_postgres),
            "postgresql stopped": ([site.postgres], self._stop_postgres),
        }

    async def rage(self, seconds: float) -> None:
        """Begin faults for so long, then wait until all that suffer are well again."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        strokes = int(seconds / EVERY_SECONDS)
        for stroke in range(1, strokes + 1):
            self._strike(loop.time() - began)
            await asyncio.sleep(max(0.0, began + stroke * EVERY_SECONDS - loop.time()))
        await asyncio.gather(*self._under_way)

    def _strike(self, at_seconds: float) -> None:
        able = {kind: self._well(victims) for kind, (victims, _) in self._kinds.items()}
        kind = self._dice.choice([kind for kind, victims in able.items() if victims])
        number, victim = self._dice.choice(able[kind])
        self.counts[kind] += 1
        self.history.append(f"{at_seconds:.1f} s: {kind} ({number})")
        spell = Spell(kind, number, datetime.now(UTC))
        self.spells.append(spell)
        if not getattr(victim, "running", True):
            self.deserters.append(f"{self.history[-1]}, which had ended by itself: {_last_line(victim.log)}")
        task = asyncio.create_task(self._afflict(self._kinds[kind][1], victim, spell))
        self._under_way.add(task)

    def _well(self, victims: list[Any]) -> list[tuple[int, Any]]:
        return [(n, victim) for n, victim in enumerate(victims) if id(victim) not in self._suffering]

    async def _afflict(self, fault: Fault, victim: Any, spell: Spell) -> None:
        self._suffering.add(id(victim))
        try:
            await fault(victim)
        finally:
            self._suffering.discard(id(victim))
            spell.ended = datetime.now(UTC)

    def end(self) -> list[str]:
        """Those who ended by themselves, now that all should be running."""
        everybody = [*self._site.servers, *self._site.workers]
        return self.deserters + [f"{v.log} ended: {_last_line(v.log)}" for v in everybody if not v.running]

    # ---- what can happen

    async def _kill_server(self, server: Server) -> None:
        pause = self._dice.uniform(0.1, 2)
        await asyncio.to_thread(server.kill)
        await asyncio.sleep(pause)
        await asyncio.to_thread(server.start)

    async def _freeze_server(self, server: Server) -> None:
        assert server.process is not None
        await self._freeze(server.process.send_signal)

    async def _terminate_server(self, server: Server) -> None:
        await asyncio.to_thread(server.terminate)
        await asyncio.to_thread(server.start)

    async def _kill_worker(self, worker: WorkerProcess) -> None:
        pause = self._dice.uniform(0, 1)
        await asyncio.to_thread(worker.kill)
        await asyncio.sleep(pause)
        worker.start()

    async def _freeze_worker(self, worker: WorkerProcess) -> None:
        await self._freeze(worker.signal)

    async def _freeze(self, send: Callable[[signal.Signals], None]) -> None:
        pause = self._dice.uniform(0.5, self._longest_freeze_seconds)
        send(signal.SIGSTOP)
        try:
            await asyncio.sleep(pause)
        finally:
            send(signal.SIGCONT)

    async def _kill_redis(self, _: Any) -> None:
        pause = self._dice.uniform(1, 5)
        await asyncio.to_thread(self._site.redis.kill)
        await asyncio.sleep(pause)
        await asyncio.to_thread(self._site.redis.start)

    async def _kill_postgres(self, _: Any) -> None:
        pause = self._dice.uniform(1, 3)
        await asyncio.to_thread(self._site.postgres.kill)
        await asyncio.sleep(pause)
        await asyncio.to_thread(self._site.postgres.start)

    async def _stop_postgres(self, _: Any) -> None:
        pause = self._dice.uniform(1, 3)
        await asyncio.to_thread(self._site.postgres.stop)
        await asyncio.sleep(pause)
        await asyncio.to_thread(self._site.postgres.start)


def _last_line(log: Path) -> str:
    return (log.read_text(errors="replace").splitlines() or ["it said nothing"])[-1]
