"""One schedule: the people of a plan on one loop and one database, driven through faults and into rest."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import Context
from dataclasses import dataclass
from itertools import count
from random import Random
from typing import Any, TypeVar
from uuid import UUID

from queueapp import database as clock
from queueapp import lifecycle
from queueapp.database import DATABASE_AWAY
from queueapp.domain.submission import Limits, parse_submission
from queueapp.hub import Hub
from tests.simulation import edges, plan
from tests.simulation.bells import Bells
from tests.simulation.checks import Watch, settled, wrongs
from tests.simulation.database import Database, Faults
from tests.simulation.faults import Storm
from tests.simulation.loop import Loop, current_process
from tests.simulation.people import Offers, Server, SimulatedWorker, scope
from tests.simulation.wire import Connection

T = TypeVar("T")

HEALING_SECONDS = 25.0
"""Long after that all must have ended: a lease is two seconds, a poll one."""
LAST_NEWS_SECONDS = 1.0
"""After that all news of what was done has come to everybody, and been acted upon."""
REST_SECONDS = 1.5

OFFERS: tuple[Offers, ...] = (
    (("tag", {}), ("scan", {})),
    (("long", {}),),
    (("tag", {"cloud": "gcp"}), ("scan", {"cloud": "gcp"})),
    (("tag", {"cloud": "aws"}), ("tag", {})),
)
"""By the worker's place. Somebody takes each task; what takes for ever takes no room from the rest."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """`points` at which each server and worker might have died; `wrongs` that were found."""

    trace: list[str]
    points: dict[str, int]
    wrongs: list[str]


class World:
    def __init__(self, seed: str, database: Database, token: str, planned: plan.Plan | None = None) -> None:
        self.random = Random(seed)
        self.plan = planned or plan.draw(self.random)
        self.database, self.token = database, token
        self.trace: list[str] = []
        self.loop = Loop(self.random, self.note)
        self.bells = Bells(self.random, self.later)
        self.servers: list[Server] = []
        self.workers: list[SimulatedWorker] = []
        self.connections: list[Connection] = []
        self.accepted: list[UUID] = []
        self.dies: dict[str, int] = {}
        """Process's name → the point at which it is killed, when that is not left to the storm."""
        self.points: dict[str, int] = {}
        self.is_healed = False
        self.watch = Watch(database)
        self.storm = Storm(self)
        self._names = count(1)
        self._nonces = count(1)
        self._machines = edges.Machines()

    def note(self, text: str) -> None:
        self.trace.append(f"{self.loop.time():8.4f} {text}")

    def later(self, delay: float, call: Callable[..., Any], *args: Any) -> None:
        """What happens outside all processes."""
        self.loop.call_later(delay, call, *args, context=Context())

    def delay(self) -> float:
        """Of a message under way: mostly short, now and then long."""
        return self.random.choice((0.001, 0.005, 0.005, 0.2)) * self.random.random()

    # ---- people

    def start_server(self, place: int) -> None:
        number = next(self._names)
        server = Server(self.loop, f"s{place}.{number}")
        # Half of the hosts are containers, where every process is the first. Now and then the next process comes
        # up on another host: nothing but the lease tells there that the last one is dead.
        host = f"host{place}" if self.random.random() < 0.7 else f"host{place}.{number}"
        self._machines.place(server.process, host, 1 if place % 2 else number)
        self.servers.append(server)
        self.storm.doom(server.process, "kill servers")
        server.process.on_death.append(lambda: self._succeed(server, lambda: self.start_server(place)))
        server.start()

    def start_worker(self, place: int) -> None:
        name = f"w{place}.{next(self._names)}"
        capacity = self.random.choice((1, 2, 4)) if place != 1 else plan.MOST_LONG_TASKS
        concurrency = max(1, capacity - 1) if place != 1 else 100
        worker = SimulatedWorker(
            self.loop, name, OFFERS[place], capacity, concurrency, self.token, self.random, self._nonces
        )
        self.workers.append(worker)
        self.storm.doom(worker.process, "kill workers")
        worker.process.on_death.append(lambda: self._succeed(worker, lambda: self.start_worker(place)))
        worker.start()

    def _succeed(self, dead: Server | SimulatedWorker, start: Callable[[], None]) -> None:
        """Whoever runs the processes starts another in place of one that has ended."""
        self.note(f"{dead.process.name} has ended")
        self.points[dead.process.name] = dead.process.points
        people: list[Any] = self.servers if isinstance(dead, Server) else self.workers
        people.remove(dead)
        self.later(self.random.random(), start)

    def current_hub(self) -> Hub:
        hub = next(server.hub for server in self.servers if server.process is current_process())
        assert hub is not None
        return hub

    async def connect(
        self,
        endpoint: str,
        *,
        additional_headers: dict[str, str],
        subprotocols: list[str],
        open_timeout: float,
        **others: Any,
    ) -> Any:
        """For `websockets.connect`: to one of the servers, as a load balancer chooses."""
        process = current_process()
        worker = next(worker for worker in self.workers if worker.process is process)
        started = [server for server in self.servers if server.hub is not None]
        if not started:
            await asyncio.sleep(self.delay())
            raise OSError("connection refused")
        server = self.random.choice(started)
        connection = Connection(
            len(self.connections), worker.process, server.process, self.delay, self.later, self.note
        )
        self.connections.append(connection)
        worker.connections.append(connection)
        self.note(f"{connection.name} is opened")
        self.storm.disturb(server)
        server.serve(connection, scope(endpoint, additional_headers, subprotocols, worker.process.name))
        async with asyncio.timeout(open_timeout):
            await connection.accepted
        return connection.socket

    async def ask(self, server: Server, work: Callable[[], T]) -> T:
        """What an HTTP request does: work on a thread of the server, and an answer if it lives to give one."""
        answer: asyncio.Future[T] = self.loop.create_future()

        def settle(settle: Callable[[Any], None], outcome: Any) -> None:
            if not answer.done():
                settle(outcome)

        async def respond() -> None:
            try:
                outcome = await self.loop.run_in_executor(None, work)
            except DATABASE_AWAY as error:
                self.later(self.delay(), settle, answer.set_exception, error)
            else:
                self.later(self.delay(), settle, answer.set_result, outcome)

        broken = ConnectionError("the server has ended")
        server.process.on_death.append(lambda: self.later(self.delay(), settle, answer.set_exception, broken))
        server.process.spawn(respond())
        return await answer

    # ---- the schedule

    def look(self, question: Callable[[World], T]) -> T:
        """At the rows, from the outside."""
        with self.loop.as_on_a_thread():
            return question(self)

    def run(self) -> Outcome:
        self.database.wipe()
        self.database.faults = faults = Faults(self.random, self.note)
        faults.after_commit = self.watch.after_commit
        with (
            edges.replaced(self.loop, self.random, self._machines, self.bells, self.current_hub, self.connect),
            _complaints(self.loop.failures),
        ):
            try:
                found = self.loop.run_until(self.loop.create_task(self._live(faults), context=Context()))
                for each in (*self.servers, *self.workers):
                    self.points[each.process.name] = each.process.points
            finally:
                self.database.faults = None
                self.loop.close()
        return Outcome(self.trace, self.points, found)

    async def _live(self, faults: Faults) -> list[str]:
        for place in range(self.plan.servers):
            self.start_server(place)
        for place in range(self.plan.workers):
            self.start_worker(place)
        producing = [
            self.loop.create_task(self._produce(number, at, dict(document)))
            for number, (at, document) in enumerate(self.plan.tasks)
        ]
        await self.storm.rage(faults)
        self.note("the faults are over")
        with suppress(TimeoutError):
            async with asyncio.timeout(HEALING_SECONDS):
                await asyncio.gather(*producing)
                while not self.look(settled):  # noqa: ASYNC110 - virtual time costs nothing
                    await asyncio.sleep(0.25)
        rest_seconds = REST_SECONDS if self.plan.rests else 0.0
        await asyncio.sleep(rest_seconds and LAST_NEWS_SECONDS)
        works = {server: server.process.works for server in self.servers}
        await asyncio.sleep(rest_seconds)
        self.note("the end")
        return self.look(lambda world: wrongs(world, works, rest_seconds)) + self.watch.wrongs + self.loop.failures

    async def _produce(self, number: int, at: float, document: dict[str, Any]) -> None:
        """Submit until it is answered. Without the key the same task might be there twice."""
        await asyncio.sleep(at)
        document["unique_key"] = f"task-{number}"

        def submit() -> UUID:
            now = clock.now()
            [receipt] = lifecycle.submit([parse_submission(document, now, Limits())], None, now)
            return receipt.task_id

        while True:
            if self.servers:
                try:
                    task_id = await self.ask(self.random.choice(self.servers), submit)
                except (ConnectionError, *DATABASE_AWAY):
                    pass
                else:
                    self.note(f"accepted {task_id} {document['name']}")
                    self.accepted.append(task_id)
                    return
            await asyncio.sleep(0.3)


class _Complaints(logging.Handler):
    """What the product logs as an error is one, but for the loss of a lease, which it survives."""

    def __init__(self, heard: list[str]) -> None:
        super().__init__(logging.ERROR)
        self.heard = heard

    def emit(self, record: logging.LogRecord) -> None:
        if "lease was lost" not in str(record.msg):
            self.heard.append(self.format(record))


@contextmanager
def _complaints(heard: list[str]) -> Iterator[None]:
    handler = _Complaints(heard)
    logger = logging.getLogger("queueapp")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.ERROR)  # nothing below is formatted, thousands of times
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)
