"""What goes wrong, and when: drawn from the seed, of the kinds that the plan has."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db.models import Exists, OuterRef

from queueapp import database as clock
from queueapp import lifecycle, sessions
from queueapp.database import DATABASE_AWAY
from queueapp.models import Queue, Subscription, WorkerSession
from tests.simulation.database import Faults
from tests.simulation.loop import Process
from tests.simulation.people import Server

if TYPE_CHECKING:
    from tests.simulation.world import World

LATEST_POINT_EXPONENT = 9.0
"""A process dies at one of its first 2^9 points, early ones as often as late ones: there is much at the start."""


class Storm:
    def __init__(self, world: World) -> None:
        self.world = world
        self.random = world.random
        self.kinds = world.plan.kinds

    def doom(self, process: Process, kind: str) -> None:
        """Decide when the new process dies."""
        if process.name in self.world.dies:
            process.dies_at = self.world.dies[process.name]
        elif kind in self.kinds and not self.world.is_healed and self.random.random() < 0.7:
            process.dies_at = int(2 ** (self.random.random() * LATEST_POINT_EXPONENT))

    def disturb(self, server: Server) -> None:
        """A server freezes now and then while a worker attaches: much is half done there then."""
        if "freeze servers" in self.kinds and not self.world.is_healed and self.random.random() < 0.3:
            self.world.later(3 * self.world.delay(), self._freeze, server.process, 5.0)

    async def rage(self, faults: Faults) -> None:
        world = self.world
        faults.failing = 0.04 if "fail the database" in self.kinds else 0.0
        world.bells.lost = self.random.choice((0.2, 0.7)) if "lose bells" in self.kinds else 0.0
        world.bells.is_away = world.plan.bells_stay_away
        blows: dict[str, Callable[[], Any]] = {
            "stop servers": self._stop_server,
            "freeze servers": self._freeze_server,
            "drain workers": self._drain_worker,
            "freeze workers": self._freeze_worker,
            "cut connections": self._cut,
            "take the database away": lambda: self._take_database(faults),
            "take the bells away": self._take_bells,
            "cancel tasks": self._cancel_task,
            "drain sessions": self._drain_session,
            "disconnect sessions": self._disconnect_session,
            "pause queues": self._pause_queue,
        }
        struck: list[asyncio.Task[None]] = []
        wanted = sorted(blows.keys() & self.kinds)
        while world.loop.time() < world.plan.faults_seconds:
            await asyncio.sleep(self.random.random() * 0.4)
            if wanted:
                struck.append(world.loop.create_task(_survive(blows[self.random.choice(wanted)]())))
        self._calm(faults)
        await asyncio.gather(*struck)
        world.look(lambda _: Queue.objects.update(paused=False))

    def _calm(self, faults: Faults) -> None:
        self.world.is_healed = True
        faults.failing, faults.is_away = 0.0, False
        self.world.bells.lost = 0.0
        self.world.bells.is_away = self.world.plan.bells_stay_away
        for each in (*self.world.servers, *self.world.workers):
            each.process.dies_at = self.world.dies.get(each.process.name)

    # ---- blows

    def _server(self) -> Server | None:
        started = [server for server in self.world.servers if server.hub is not None and not server.hub.leaving]
        return self.random.choice(started) if started else None

    async def _stop_server(self) -> None:
        if server := self._server():
            self.world.note(f"{server.process.name} is asked to stop")
            server.process.spawn(server.stop(self.random.choice((0.0, 0.1, 1.0))))

    async def _freeze_server(self) -> None:
        if server := self._server():
            self._freeze(server.process, 5.0)

    async def _freeze_worker(self) -> None:
        if self.world.workers:
            self._freeze(self.random.choice(self.world.workers).process, 2.0)

    def _freeze(self, process: Process, longest_seconds: float) -> None:
        seconds = self.random.random() * longest_seconds
        self.world.note(f"{process.name} freezes for {seconds:.2f} s")
        process.stopped_until = self.world.loop.time() + seconds

    async def _drain_worker(self) -> None:
        """Not the one whose tasks take for ever: it would never leave."""
        if leaving := [worker for worker in self.world.workers if not worker.is_slow]:
            worker = self.random.choice(leaving)
            self.world.note(f"{worker.process.name} drains")
            worker.drain()

    async def _cut(self) -> None:
        open_ones = [connection for connection in self.world.connections if not connection.is_over]
        if open_ones:
            connection = self.random.choice(open_ones)
            hears = [self.random.choice((0.0, 0.05, 3.0)) * self.random.random() for _ in range(2)]
            self.world.note(f"{connection.name} is cut, noticed after {hears[0]:.2f} and {hears[1]:.2f} s")
            connection.cut(*hears, self.random.random() < 0.3, self.random.random() < 0.3)

    async def _take_database(self, faults: Faults) -> None:
        self.world.note("the database is away")
        faults.is_away = True
        await asyncio.sleep(self.random.random() * 2.0)
        faults.is_away = False
        self.world.note("the database is back")

    async def _take_bells(self) -> None:
        self.world.bells.is_away = True
        await asyncio.sleep(self.random.random())
        self.world.bells.is_away = self.world.plan.bells_stay_away

    # ---- operators

    async def _cancel_task(self) -> None:
        if self.world.accepted:
            task_id = self.random.choice(self.world.accepted)
            await self._ask(f"cancel {task_id}", lambda: lifecycle.cancel([task_id], clock.now()))

    async def _drain_session(self) -> None:
        for session_id in self._some_session(
            Exists(Subscription.objects.filter(name="tag", session=OuterRef("pk")))
        ):
            await self._ask(f"drain {session_id}", partial(sessions.drain, [session_id]))

    async def _disconnect_session(self) -> None:
        for session_id in self._some_session():
            await self._ask(f"disconnect {session_id}", partial(_disconnect, session_id))

    async def _pause_queue(self) -> None:
        await self._ask("pause tag", lambda: Queue.objects.filter(name="tag").update(paused=True))

    def _some_session(self, *conditions: Any) -> list[Any]:
        sessions = WorkerSession.objects.attached().filter(*conditions).order_by("id").values_list("id", flat=True)
        ids = self.world.look(lambda _: list(sessions))
        return [self.random.choice(ids)] if ids else []

    async def _ask(self, what: str, work: Callable[[], Any]) -> None:
        if server := self._server():
            self.world.note(f"an operator asks {server.process.name}: {what}")
            await self.world.ask(server, work)


def _disconnect(session_id: UUID) -> None:
    sessions.disconnect([session_id], clock.now())


async def _survive(blow: Any) -> None:
    try:
        await blow
    except (ConnectionError, *DATABASE_AWAY):
        pass
