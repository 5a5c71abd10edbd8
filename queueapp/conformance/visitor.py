"""What the stories against a server have at hand: workers played by script, and the REST API to submit by."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode, urlsplit
from urllib.request import Request, urlopen

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from queueapp.conformance.stories import Deviation, NotApplicable, expect
from queueapp.protocol import SUBPROTOCOL

Message = dict[str, Any]
WORKER_PATH = "/work/queue"
POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Server:
    """Where the server is, and with which keys it is spoken to. `patience_seconds`: to wait for anything;
    `quiet_seconds`: to watch it saying nothing, where it must not."""

    url: str
    rest: str
    worker_key: str
    producer_key: str
    operator_key: str = ""
    patience_seconds: float = 30.0
    quiet_seconds: float = 1.0
    frame_limit_bytes: int = 1024 * 1024

    def visitor(self) -> Visitor:
        return Visitor(self)


def endpoints(url: str, rest: str) -> tuple[str, str]:
    """The worker route and the REST base, for a URL that may be as short as `ws://host:port`. ValueError."""
    parts = urlsplit(url)
    if parts.scheme not in ("ws", "wss") or not parts.netloc:
        raise ValueError(f"{url!r} is no server: write it as ws://host:port.")
    secure = "s" if parts.scheme == "wss" else ""
    worker = url if parts.path not in ("", "/") else f"{parts.scheme}://{parts.netloc}{WORKER_PATH}"
    return worker, (rest or f"http{secure}://{parts.netloc}/api/v1").rstrip("/")


class ScriptedWorker:
    """One connection that says what the script says. Messages of an array are read one by one."""

    def __init__(self, socket: ClientConnection, patience_seconds: float, quiet_seconds: float) -> None:
        self.socket = socket
        self.frames: list[Any] = []
        self._patience_seconds = patience_seconds
        self._quiet_seconds = quiet_seconds
        self._unread: list[Message] = []

    async def say(self, message: Any) -> None:
        await self.socket.send(message if isinstance(message, str | bytes) else json.dumps(message))

    async def done(self, task: Message, data: Any = None, **members: Any) -> None:
        await self.say({"task_id": task["task_id"], "result": "done", "data": data, **members})

    async def hear(self, *kinds: str) -> Message:
        """The next message, which must be of one of these kinds."""
        awaited = " or ".join(kinds)
        try:
            async with asyncio.timeout(self._patience_seconds):
                message = await self._next()
        except TimeoutError:
            raise Deviation(f"no {awaited} within {self._patience_seconds:g} s") from None
        except ConnectionClosed:
            raise Deviation(f"closed with {self.socket.close_code} instead of a {awaited}") from None
        expect(message.get("kind") in kinds, f"{message} instead of a {awaited}")
        return message

    async def hear_nothing(self) -> None:
        try:
            async with asyncio.timeout(self._quiet_seconds):
                raise Deviation(f"{await self._next()}, where nothing was to be said")
        except TimeoutError:
            return

    async def closed_with(self, *codes: int) -> str:
        """The reason, once the server has closed it with one of the codes."""
        try:
            async with asyncio.timeout(self._patience_seconds):
                while True:
                    await self.socket.recv()
        except TimeoutError:
            raise Deviation(f"still open after {self._patience_seconds:g} s") from None
        except ConnectionClosed:
            code = self.socket.close_code
            expect(code in codes, f"closed with {code} ({self.socket.close_reason})")
            return self.socket.close_reason or ""

    async def _next(self) -> Message:
        while not self._unread:
            frame = json.loads(await self.socket.recv())
            self.frames.append(frame)
            self._unread = frame if isinstance(frame, list) else [frame]
        return self._unread.pop(0)


class Visitor:
    """One story's view of the server. `name` is a task name of its own, so that stories do not meet."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.name = f"conformance.{uuid.uuid4().hex[:16]}"

    @asynccontextmanager
    async def worker(
        self,
        *,
        v1: bool = True,
        key: str | None = "",
        query: str | None = None,
        welcomed: bool | None = None,
        **parameters: str,
    ) -> AsyncIterator[ScriptedWorker]:
        """A connection for this story's tasks, or with the query that is given; `key` None: without a header.

        With v1 it is through its welcome, unless `welcomed` says otherwise.
        """
        query = urlencode({"task": self.name, **parameters}) if query is None else query
        key = self.server.worker_key if key == "" else key
        async with connect(
            f"{self.server.url}?{query}" if query else self.server.url,
            additional_headers={} if key is None else {"Authorization": f"Bearer {key}"},
            subprotocols=[Subprotocol(SUBPROTOCOL)] if v1 else None,
            max_size=None,
            open_timeout=self.server.patience_seconds,
            ping_interval=None,  # how long a server may take to answer is for the story to say
        ) as socket:
            worker = ScriptedWorker(socket, self.server.patience_seconds, self.server.quiet_seconds)
            if v1 if welcomed is None else welcomed:
                await worker.hear("welcome")
            yield worker

    async def submit(self, count: int = 1, **fields: Any) -> list[str]:
        answer = await self.call("POST", "/tasks", [{"name": self.name, **fields}] * count)
        return list(answer["ids"])

    async def task(self, task_id: str) -> Message:
        return await self.call("GET", f"/tasks/{task_id}")

    async def until(self, task_id: str, condition: Callable[[Message], object]) -> Message:
        """The task once the condition holds of it."""
        task: Message = {}
        try:
            async with asyncio.timeout(self.server.patience_seconds):
                while not condition(task := await self.task(task_id)):  # noqa: ASYNC110 - the server makes it true
                    await asyncio.sleep(POLL_SECONDS)
        except TimeoutError:
            raise Deviation(f"the task stays {task.get('state')} ({task})") from None
        return task

    async def operate(self, path: str) -> Any:
        if not self.server.operator_key:
            raise NotApplicable("needs an operator's key")
        return await self.call("POST", path, {}, key=self.server.operator_key)

    async def call(self, method: str, path: str, body: Any = None, key: str = "") -> Any:
        request = Request(
            self.server.rest + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": f"Bearer {key or self.server.producer_key}",
                "Content-Type": "application/json",
            },
        )
        return await asyncio.to_thread(_answer, request, self.server.patience_seconds)


def _answer(request: Request, patience_seconds: float) -> Any:
    try:
        with urlopen(request, timeout=patience_seconds) as answer:
            return json.loads(answer.read())
    except HTTPError as error:
        raise Deviation(f"{request.method} {request.full_url} answers {error.code}") from None
