"""A scripted server: a real WebSocket peer on a free port that says what a test tells it to say."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from queueapp.protocol import SUBPROTOCOL

PATIENCE_SECONDS = 20.0


class Attached:
    """One worker connection as the server sees it, after its registration."""

    def __init__(self, socket: ServerConnection, registration: list[dict[str, Any]]) -> None:
        self.socket = socket
        self.registration = registration
        assert socket.request is not None
        self.path = socket.request.path
        self.headers = socket.request.headers
        self.patience_seconds = PATIENCE_SECONDS
        self._unread: list[dict[str, Any]] = []

    async def say(self, **message: Any) -> None:
        await self.socket.send(json.dumps(message))

    async def give(self, task_id: str, data: Any = None, **changes: Any) -> None:
        await self.socket.send(json.dumps(task(task_id, data, **changes)))

    async def hear(self) -> dict[str, Any]:
        """The next message, whether it came alone or in an array."""
        if not self._unread:
            async with asyncio.timeout(self.patience_seconds):
                frame = json.loads(await self.socket.recv())
            self._unread = frame if isinstance(frame, list) else [frame]
        return self._unread.pop(0)

    async def acknowledge(self, result: dict[str, Any], status: str = "accepted") -> None:
        await self.say(kind="ack", task_id=result["task_id"], attempt=result["attempt"], status=status)

    async def closed(self) -> int | None:
        """The code with which the worker closed."""
        async with asyncio.timeout(self.patience_seconds):
            await self.socket.wait_closed()
        return self.socket.close_code


class Peer:
    def __init__(self, server: Server, attached: asyncio.Queue[Attached]) -> None:
        port = server.sockets[0].getsockname()[1]
        self.url = f"ws://127.0.0.1:{port}"
        self.heartbeat_seconds = 10.0
        self.patience_seconds = PATIENCE_SECONDS
        self._attached = attached

    async def attached(self) -> Attached:
        """The next worker that registers."""
        async with asyncio.timeout(self.patience_seconds):
            worker = await self._attached.get()
        worker.patience_seconds = self.patience_seconds
        return worker


@asynccontextmanager
async def peer(refuse_with: HTTPStatus | None = None, frame_limit_bytes: int = 1024 * 1024) -> AsyncIterator[Peer]:
    attached: asyncio.Queue[Attached] = asyncio.Queue()

    async def attach(socket: ServerConnection) -> None:
        worker = Attached(socket, json.loads(await socket.recv()))
        heartbeat = running.heartbeat_seconds
        await worker.say(kind="welcome", worker_id="w1", max_outstanding=2, heartbeat=heartbeat, server="peer")
        attached.put_nowait(worker)
        await socket.wait_closed()

    def refuse(socket: ServerConnection, request: Request) -> Response | None:
        return None if refuse_with is None else socket.respond(refuse_with, "")

    protocols = [Subprotocol(SUBPROTOCOL)]
    options: dict[str, Any] = {
        "subprotocols": protocols,
        "process_request": refuse,
        "ping_interval": None,
        "max_size": frame_limit_bytes,
    }
    async with serve(attach, "127.0.0.1", 0, **options) as server:
        running = Peer(server, attached)
        yield running


def task(task_id: str, data: Any = None, **changes: Any) -> dict[str, Any]:
    return {
        "kind": "task",
        "task_id": task_id,
        "task_name": "tag",
        "attrs": {"cloud": "aws"},
        "data": data,
        "attempt": 1,
        "timeout": 300,
        "deadline": "2030-01-01T00:05:00Z",
        "priority": 0,
        **changes,
    }
