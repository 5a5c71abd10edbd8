"""Who takes part: servers with the real hub and consumers, workers with the real SDK."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from random import Random
from typing import Any, Protocol
from urllib.parse import urlsplit

from queueapp.consumers import WorkerConsumer
from queueapp.hub import Hub
from queueapp.sdk import Worker
from queueapp.sdk.backoff import ReconnectBackoff
from queueapp.sdk.errors import Refused
from queueapp.sdk.task import Task
from tests.simulation.loop import Loop, Process
from tests.simulation.wire import Connection

Offers = tuple[tuple[str, dict[str, str]], ...]
"""Task name and filter, of each subscription."""


class Server:
    """One server process. `hub` is there once it has started."""

    def __init__(self, loop: Loop, name: str) -> None:
        self.process = Process(loop, name)
        self.hub: Hub | None = None
        self.connections: list[Connection] = []
        self.process.on_death.append(self._died)

    def start(self) -> None:
        self.process.spawn(self._start())

    async def _start(self) -> None:
        self.hub = Hub()
        self.hub.start()

    async def stop(self, grace_seconds: float) -> None:
        """As on SIGTERM."""
        assert self.hub is not None
        await self.hub.stop(grace_seconds)
        self.process.kill()

    def serve(self, connection: Connection, scope: dict[str, Any]) -> None:
        self.connections.append(connection)
        application = WorkerConsumer.as_asgi()
        connection.application = self.process.spawn(application(scope, connection.receive, connection.send))

    def _died(self) -> None:
        for connection in self.connections:
            connection.server_died()


class Nonces(Protocol):
    def __next__(self) -> int: ...


class SimulatedWorker:
    """One worker process: the SDK's worker, whose tasks say themselves how they go."""

    def __init__(
        self,
        loop: Loop,
        name: str,
        offers: Offers,
        capacity: int,
        concurrency: int,
        token: str,
        random: Random,
        nonces: Nonces,
    ) -> None:
        self.process = Process(loop, name)
        self.connections: list[Connection] = []
        self.at_work: set[tuple[str, int]] = set()
        self.is_slow = any(task_name == "long" for task_name, _ in offers)
        self._capacity, self._concurrency = capacity, concurrency
        self._token, self._random, self._nonces = token, random, nonces
        self._worker = Worker()
        for task_name, filter in offers:
            self._worker.task(task_name, filter)(self._perform)
        self.process.on_death.append(self._died)

    def start(self) -> None:
        self.process.spawn(self._serve())

    def drain(self) -> None:
        self.process.loop.call_soon(self._worker.drain, context=self.process.context())

    async def _serve(self) -> None:
        with suppress(Refused):
            await self._worker.serve(
                "ws://server",
                self._token,
                name=self.process.name,
                max_outstanding=self._capacity,
                concurrency=self._concurrency,
                backoff=ReconnectBackoff(0.1, 2.0, 0.5, 5.0, self._random.random),
                resend_seconds=1.0,
            )
        self.process.kill()

    async def _perform(self, task: Task) -> dict[str, Any]:
        key = (task.id, task.attempt)
        self.at_work.add(key)
        try:
            if task.data.get("reports"):
                task.progress(0.5, "half")
            if task.data.get("stuck", 0) >= task.attempt:
                await asyncio.Event().wait()
            await asyncio.sleep(task.data["seconds"])
            if task.data.get("breaks", 0) >= task.attempt:
                raise ValueError("as it was told")
            return {"by": self.process.name, "attempt": task.attempt, "nonce": next(self._nonces)}
        finally:
            self.at_work.discard(key)

    def _died(self) -> None:
        for connection in self.connections:
            connection.client_died()


def scope(endpoint: str, headers: dict[str, str], subprotocols: list[str], client: str) -> dict[str, Any]:
    """What an ASGI server makes of the handshake."""
    parts = urlsplit(endpoint)
    return {
        "type": "websocket",
        "path": parts.path,
        "query_string": parts.query.encode(),
        "headers": [(name.lower().encode(), value.encode()) for name, value in headers.items()],
        "subprotocols": list(map(str, subprotocols)),
        "client": (client, 1),
    }
