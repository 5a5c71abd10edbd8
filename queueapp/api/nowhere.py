"""WebSockets to addresses at which nobody is."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

from queueapp.api import problems

DENIAL = "websocket.http.response"
"""The extension of ASGI with which a handshake can be answered by a response. Daphne has none."""


async def refuse(
    scope: dict[str, Any], receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
) -> None:
    """404 where the server can say so, else the handshake is refused. Without it the router raises an error, and
    anybody could fill the log with tracebacks."""
    await receive()
    if DENIAL not in scope.get("extensions", {}):
        await send({"type": "websocket.close"})
        return
    detail = "No WebSocket is served at this address; workers attach at /work/queue."
    body = json.dumps(problems.document(HTTPStatus.NOT_FOUND, detail)).encode()
    headers = [(b"content-type", problems.MEDIA_TYPE.encode())]
    await send({"type": f"{DENIAL}.start", "status": int(HTTPStatus.NOT_FOUND), "headers": headers})
    await send({"type": f"{DENIAL}.body", "body": body})
