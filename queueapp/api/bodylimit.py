"""A body that is larger than the limit is refused while it comes, whoever sends it.

Django reads a body to its end, into a file, before anybody looks at the request: without this a sender who has no
key could fill the disk. The views look once more, where there is no such server in front of them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from queueapp.api.problems import too_large
from queueapp.conf import config

Application = Callable[[Any, Any, Any], Awaitable[None]]


class _TooLarge(Exception):
    """The body has more bytes than the limit."""


def within_the_body_limit(application: Application) -> Application:
    async def bounded(scope: Any, receive: Any, send: Any) -> None:
        limit = config().body_limit_bytes
        length = 0

        async def receive_part() -> Any:
            nonlocal length
            message = await receive()
            length += len(message.get("body", b""))
            if length > limit:
                raise _TooLarge
            return message

        try:
            if _declared_length(scope) > limit:
                raise _TooLarge
            await application(scope, receive_part, send)
        except _TooLarge:
            await _refuse(limit, send)

    return bounded


def _declared_length(scope: Any) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return 0


async def _refuse(limit: int, send: Any) -> None:
    response = too_large(limit)
    headers = [(name.lower().encode(), value.encode()) for name, value in response.items()]
    headers.append((b"content-length", str(len(response.content)).encode()))
    await send({"type": "http.response.start", "status": response.status_code, "headers": headers})
    await send({"type": "http.response.body", "body": response.content})
