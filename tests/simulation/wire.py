"""A WebSocket without a network: the client's end as the SDK knows it, the server's as ASGI does.

Each direction keeps its order. What is in flight when the connection is cut is lost, and each end hears of it
in its own time.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable
from typing import Any

from websockets.exceptions import ConnectionClosedError, ConnectionClosedOK
from websockets.frames import Close

from tests.simulation.loop import Process

ABNORMAL = 1006
ORDERLY = (1000, 1001)


class Pipe:
    """One direction."""

    def __init__(self, delay: Callable[[], float], later: Callable[..., Any], now: Callable[[], float]) -> None:
        self._delay, self._later, self._now = delay, later, now
        self._in_flight: deque[Callable[[], None]] = deque()
        self._last = 0.0
        self.is_cut = False

    def put(self, deliver: Callable[[], None]) -> None:
        if not self.is_cut:
            self._in_flight.append(deliver)
            self._last = max(self._last, self._now() + self._delay())
            self._later(self._last - self._now(), self._arrive)

    def cut(self) -> None:
        self.is_cut = True
        self._in_flight.clear()

    def _arrive(self) -> None:
        if self._in_flight:
            self._in_flight.popleft()()


class Connection:
    """Between a worker and a server. `later` runs what the network does, which dies with nobody."""

    def __init__(
        self,
        number: int,
        client: Process,
        server: Process,
        delay: Callable[[], float],
        later: Callable[..., Any],
        trace: Callable[[str], None],
    ) -> None:
        self.name = f"{client.name}~{server.name}#{number}"
        self.client, self.server = client, server
        self.heard: list[dict[str, Any]] = []
        """The server's messages that have arrived at the worker."""
        self.said: list[dict[str, Any]] = []
        """The worker's messages, sent on their way."""
        self.ended_by_server_alone = False
        self._trace, self._later, self._delay = trace, later, delay
        self._to_client = Pipe(delay, later, client.loop.time)
        self._to_server = Pipe(delay, later, client.loop.time)
        self.socket = ClientSocket(self)
        self.accepted: asyncio.Future[None] = client.loop.create_future()
        self._inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._inbox.put_nowait({"type": "websocket.connect"})
        self._server_knows_end = False
        self._server_closed = False
        self._sends_fail = False
        self.is_over = False
        self.said_after_close: list[str] = []
        """What the server sent when it had closed already: no ASGI server takes that."""
        self.application: asyncio.Task[None] | None = None

    @property
    def session_id(self) -> str | None:
        """As the server has told the worker."""
        return next((message["worker_id"] for message in self.heard if message["kind"] == "welcome"), None)

    # ---- the server's end

    async def receive(self) -> dict[str, Any]:
        return await self._inbox.get()

    async def send(self, message: dict[str, Any]) -> None:
        match message:
            case {"type": "websocket.accept", "subprotocol": subprotocol}:
                self._to_client.put(lambda: self._accept(subprotocol))
            case {"type": "websocket.send"} if self._sends_fail:
                await asyncio.sleep(0)
                raise OSError("the connection is broken")
            case {"type": "websocket.send", "text": text}:
                # A frozen process may be late even for its last words.
                if self._server_closed and not self.server.stopped_until:
                    self.said_after_close.append(text)
                self._to_client.put(lambda: self._arrive_at_client(text))
            case {"type": "websocket.close"}:
                code, reason = message.get("code", 1000), message.get("reason", "")
                self._trace(f"{self.name} is closed by the server: {code} {reason}")
                self._to_client.put(lambda: self.socket.end(code, reason))
                self._later(2 * self._delay(), self.end_at_server, code)
                self._server_closed = self.is_over = True
        await asyncio.sleep(0)  # a place at which the server may die, and others go on

    def end_at_server(self, code: int) -> None:
        if not self._server_knows_end:
            self._server_knows_end = True
            self._inbox.put_nowait({"type": "websocket.disconnect", "code": code})

    def _arrive_at_server(self, text: str) -> None:
        if not self._server_knows_end:
            self._inbox.put_nowait({"type": "websocket.receive", "text": text})

    # ---- the client's end

    def ping(self, pong: asyncio.Future[float]) -> None:
        """There and back; a server that is frozen answers none."""

        def answer() -> None:
            if self.server.stopped_until <= self.server.loop.time():
                self._to_client.put(lambda: None if pong.done() else pong.set_result(0.0))

        self._to_server.put(answer)

    def say(self, text: str) -> None:
        self.said.extend(_messages(text))
        self._trace(f"{self.name} -> {text}")
        self._to_server.put(lambda: self._arrive_at_server(text))

    def close_by_client(self, code: int) -> None:
        self._trace(f"{self.name} is closed by the worker")
        self.is_over = True
        self._to_server.put(lambda: self.end_at_server(code))

    def _accept(self, subprotocol: str | None) -> None:
        self.socket.subprotocol = subprotocol
        if not self.accepted.done():
            self.accepted.set_result(None)

    def _arrive_at_client(self, text: str) -> None:
        if self.client.is_alive and self.socket.close_code is None:
            self._trace(f"{self.name} <- {text}")
            self.heard.extend(_messages(text))
            self.socket.arrive(text)

    # ---- ends

    def cut(self, client_hears_after: float, server_hears_after: float, sends_fail: bool, cancels: bool) -> None:
        """Whatever is in flight is lost. `sends_fail`: until the server hears of it, it cannot send; `cancels`:
        what it then hears is a cancellation, as when an ASGI server has no patience left."""
        self.is_over = True
        self._sends_fail = sends_fail
        self._to_client.cut()
        self._to_server.cut()
        self._later(client_hears_after, self.socket.end, ABNORMAL, "")
        hear = self._cancel if cancels else self.end_at_server
        self._later(server_hears_after, hear, ABNORMAL)

    def _cancel(self, code: int) -> None:
        self._server_knows_end = True
        if self.application is not None:
            self.application.cancel()

    def client_died(self) -> None:
        """Its system closes the socket for it: what it has sent still arrives."""
        self.is_over = True
        self._to_server.put(lambda: self.end_at_server(ABNORMAL))

    def server_died(self) -> None:
        self.ended_by_server_alone = not self.is_over
        self.is_over = True
        self._to_client.put(lambda: self.socket.end(ABNORMAL, ""))


class ClientSocket:
    """As much of `websockets.ClientConnection` as the SDK uses."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._frames: asyncio.Queue[str | None] = asyncio.Queue()
        self.subprotocol: str | None = None
        self.close_code: int | None = None
        self.close_reason = ""
        self.transport = self

    def arrive(self, text: str) -> None:
        self._frames.put_nowait(text)

    def end(self, code: int, reason: str) -> None:
        if self.close_code is None:
            self.close_code, self.close_reason = code, reason
            self._frames.put_nowait(None)
        accepted = self._connection.accepted
        if not accepted.done():
            accepted.set_exception(OSError("the connection was broken"))
            accepted.exception()  # nobody may be left to ask for it

    async def send(self, text: str) -> None:
        if self.close_code is not None:
            raise self._closed()
        self._connection.say(text)
        await asyncio.sleep(0)

    async def ping(self) -> asyncio.Future[float]:
        if self.close_code is not None:
            raise self._closed()
        pong = self._connection.client.loop.create_future()
        self._connection.ping(pong)
        return pong

    async def close(self) -> None:
        if self.close_code is None:
            self._connection.close_by_client(1000)
            self.end(1000, "")
        await asyncio.sleep(0)

    def abort(self) -> None:
        if self.close_code is None:
            self._connection.close_by_client(ABNORMAL)
            self.end(ABNORMAL, "")

    def __aiter__(self) -> ClientSocket:
        return self

    async def __anext__(self) -> str:
        frame = await self._frames.get()
        if frame is not None:
            return frame
        if self.close_code in ORDERLY:
            raise StopAsyncIteration
        raise self._closed()

    def _closed(self) -> Exception:
        assert self.close_code is not None
        close = Close(self.close_code, self.close_reason)
        return (ConnectionClosedOK if self.close_code in ORDERLY else ConnectionClosedError)(close, None)


def _messages(text: str) -> list[dict[str, Any]]:
    parsed = json.loads(text)
    return parsed if isinstance(parsed, list) else [parsed]
