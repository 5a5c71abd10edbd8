"""Viewers of the operators' WebSocket, without a browser."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

from admin_rows import staff
from channels.db import database_sync_to_async
from channels.routing import URLRouter
from channels.testing import WebsocketCommunicator
from django.test import Client

from queueapp import live
from queueapp.routing import websocket_urlpatterns

PATIENCE_SECONDS = 60


def rows_of(kind: str, *keys: Any, **parameters: str) -> str:
    """The query of a page that lists these."""
    return urlencode({"watch": kind, "row": [str(key) for key in keys], **parameters}, doseq=True)


async def viewer(*verbs: str, models: tuple[str, ...] = ()) -> Client:
    return await database_sync_to_async(staff)(*(verbs or ("view",)), models=models)


def socket(
    client: Client | None, watch: str = "", origin: str | None = "http://localhost"
) -> WebsocketCommunicator:
    headers = [(b"host", b"localhost")]
    if origin is not None:
        headers.append((b"origin", origin.encode()))
    if client is not None:
        headers.append((b"cookie", f"sessionid={client.cookies['sessionid'].value}".encode()))
    return WebsocketCommunicator(URLRouter(websocket_urlpatterns), f"/work/operators?{watch}", headers)


@asynccontextmanager
async def watching(client: Client, watch: str = "") -> AsyncIterator[WebsocketCommunicator]:
    viewer = socket(client, watch)
    connected, _ = await viewer.connect(PATIENCE_SECONDS)
    assert connected
    try:
        yield viewer
    finally:
        await viewer.disconnect()


async def snapshot(viewer: WebsocketCommunicator) -> Any:
    return json.loads(await viewer.receive_from(PATIENCE_SECONDS))


async def until(viewer: WebsocketCommunicator, is_so: Callable[[Any], bool]) -> Any:
    """The first snapshot of which that is so."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not is_so(found := await snapshot(viewer)):
            pass
        return found


async def told(client: Client, watch: str) -> Any:
    """The snapshot as it is now."""
    live.forget()
    async with watching(client, watch) as viewer:
        return await snapshot(viewer)


async def is_let_in(client: Client | None, watch: str = "", origin: str | None = "http://localhost") -> bool:
    viewer = socket(client, watch, origin)
    connected, _ = await viewer.connect(PATIENCE_SECONDS)
    await viewer.disconnect()
    return connected


async def closed_with(viewer: WebsocketCommunicator) -> int:
    """The code, after whatever comes before it."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (message := await viewer.receive_output(PATIENCE_SECONDS))["type"] == "websocket.send":
            pass
    assert message["type"] == "websocket.close"
    return message["code"]
