"""A server with one thing wrong: a proxy before the real one, that changes what passes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import websockets
from websockets.asyncio.client import ClientConnection, connect
from websockets.asyncio.server import ServerConnection, serve

Message = dict[str, Any]

REGISTRATION_TIMEOUT_SECONDS = 5
"""Of the real server: short, for one story waits for it, but first messages must pass the proxy within it."""
PING_INTERVAL_SECONDS = 1
PING_TIMEOUT_SECONDS = 20
"""Of both. A worker that does not read for as long as another is served must not be taken for dead meanwhile."""


def same(message: Message) -> list[Message]:
    return [message]


@dataclass(frozen=True)
class Defect:
    """`says` and `hears` change single messages of the server and to it: into none, one or several.
    `close`: another code for its ends. `path`: another query. `frame`: another raw frame to it."""

    says: Callable[[Message], list[Message]] = same
    hears: Callable[[Message], list[Message]] = same
    frame: Callable[[Any], Any] = lambda frame: frame
    path: Callable[[str], str] = lambda path: path
    close: Callable[[int], int] = lambda code: code
    hangs_on: bool = False
    """The broken end of a connection is not passed on."""
    comes_after_seconds: float = 0
    """Nothing is wrong before."""


def only(kind: str, change: Callable[[Message], list[Message]]) -> Callable[[Message], list[Message]]:
    return lambda message: change(message) if kind_of(message) == kind else [message]


def kind_of(message: Message) -> str:
    return message.get("kind") or "result"


def changed(**members: Any) -> Callable[[Message], list[Message]]:
    return lambda message: [{**message, **members}]


def dropped(_: Message) -> list[Message]:
    return []


def repeated(message: Message) -> list[Message]:
    return [message, message]


def without(member: str) -> Callable[[Message], list[Message]]:
    return lambda message: [{key: value for key, value in message.items() if key != member}]


WORKS_FOR_ALL = Defect(path=lambda path: path.replace("_max_outstanding=2", "_max_outstanding=50"))

DEFECTS = {
    "welcome": Defect(says=only("welcome", dropped)),
    "old-worker": Defect(says=lambda message: [{"kind": "news"}, message]),
    "task-members": Defect(says=only("task", without("deadline"))),
    "filters": Defect(path=lambda path: path.partition("&")[0]),
    "first-messages": Defect(says=only("welcome", dropped)),
    "acknowledged": Defect(says=only("ack", dropped)),
    "duplicate-result": Defect(says=only("ack", changed(status="accepted"))),
    "stale-attempt": Defect(hears=without("attempt")),
    "foreign-result": Defect(says=only("ack", changed(status="accepted"))),
    "lost-ack": Defect(says=only("ack", changed(status="accepted"))),
    "error-results": Defect(hears=without("retry")),
    "arrays": Defect(hears=lambda message: [message] if message.get("result") != "done" else []),
    "refused-credentials": Defect(close=lambda code: 1000),
    "release": Defect(hears=only("release", dropped)),
    "progress": Defect(hears=only("progress", dropped)),
    "extend": Defect(hears=only("extend", dropped)),
    "timeout": Defect(says=only("cancel", dropped)),
    "cancel": Defect(says=only("cancel", changed(attempt=7))),
    "credit": WORKS_FOR_ALL,
    "capacity": Defect(hears=only("capacity", dropped)),
    "worker-drains": Defect(hears=only("drain", dropped)),
    "bad-frames": Defect(says=only("error", dropped)),
    "too-many-bad-frames": Defect(close=lambda code: 1011),
    "large-frame": Defect(frame=lambda frame: frame[:100]),
    "bad-parameters": Defect(close=lambda code: 1008),
    "no-registration": Defect(close=lambda code: 1000, comes_after_seconds=REGISTRATION_TIMEOUT_SECONDS),
    "broken-connection": Defect(hangs_on=True),
    "half-open-connection": Defect(
        hangs_on=True, comes_after_seconds=PING_INTERVAL_SECONDS + PING_TIMEOUT_SECONDS
    ),
    "slow-reader": Defect(says=only("task", repeated)),
    "operator-drains": Defect(says=only("drain", dropped)),
    "operator-disconnects": Defect(close=lambda code: 1000),
}


@asynccontextmanager
async def tampering(port: int, defect: Defect) -> AsyncIterator[str]:
    """The proxy's worker route."""
    held: list[ClientConnection] = []

    async def meet(client: ServerConnection) -> None:
        assert client.request is not None
        header = client.request.headers.get("Authorization")
        upstream = await connect(
            f"ws://127.0.0.1:{port}{defect.path(client.request.path)}",
            additional_headers={"Authorization": header} if header else {},
            subprotocols=[client.subprotocol] if client.subprotocol else None,
            max_size=None,
        )
        held.append(upstream)
        outwards = asyncio.create_task(pass_on(upstream, client, defect))
        inwards = asyncio.create_task(pass_in(client, upstream, defect))
        await asyncio.wait([outwards, inwards], return_when=asyncio.FIRST_COMPLETED)
        if outwards.done():
            with suppress(websockets.ConnectionClosed):
                await client.close(defect.close(upstream.close_code or 1011), upstream.close_reason or "")
        elif not defect.hangs_on:
            upstream.transport.abort()
        await client.wait_closed()

    # The peer's silence is the real server's to notice: it is passed on, by not reading on its behalf.
    async with serve(
        meet, "127.0.0.1", 0, subprotocols=["workqueue.v1"], select_subprotocol=asked_for, max_size=None,
        ping_interval=None if defect.hangs_on else PING_INTERVAL_SECONDS, ping_timeout=PING_TIMEOUT_SECONDS,
        close_timeout=0.2,
    ) as server:  # fmt: skip
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/work/queue"
        for upstream in held:
            upstream.transport.abort()


def asked_for(_: ServerConnection, offered: Any) -> Any:
    return "workqueue.v1" if "workqueue.v1" in offered else None


async def pass_on(upstream: ClientConnection, client: ServerConnection, defect: Defect) -> None:
    with suppress(websockets.ConnectionClosed):
        async for frame in upstream:
            await send_changed(client, frame, defect.says)


async def pass_in(client: ServerConnection, upstream: ClientConnection, defect: Defect) -> None:
    with suppress(websockets.ConnectionClosed):
        async for frame in client:
            await send_changed(upstream, defect.frame(frame), defect.hears)


async def send_changed(socket: Any, frame: Any, change: Callable[[Message], list[Message]]) -> None:
    """Frames that are no messages pass as they are; so do those that nothing changes."""
    try:
        content = json.loads(frame)
    except (ValueError, RecursionError):
        await socket.send(frame)
        return
    messages = content if isinstance(content, list) else [content]
    if not all(isinstance(message, dict) for message in messages) or not messages:
        await socket.send(frame)
        return
    new = [each for message in messages for each in change(message)]
    if new == messages:
        await socket.send(frame)
    elif isinstance(content, list):
        await socket.send(json.dumps(new))
    else:
        for each in new:
            await socket.send(json.dumps(each))
