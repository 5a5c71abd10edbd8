"""Pages of other sites that may call the API with a key (`WORKQUEUE_CORS_ORIGINS`): none by default.

Cookies are never allowed along, so that a session of the admin stays out of it. Around the whole application:
requests with a key pass by the middleware.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from queueapp.api.handler import Application

PATHS = ("/api/", "/work/list")

_PREFLIGHT = [
    (b"access-control-allow-methods", b"GET, POST, PATCH, DELETE"),
    (b"access-control-allow-headers", b"authorization, content-type, idempotency-key, prefer, traceparent"),
    (b"access-control-max-age", b"600"),
]
_EXPOSED = [(b"access-control-expose-headers", b"location, preference-applied, retry-after, www-authenticate")]


def with_cors(application: Application, origins: Collection[str]) -> Application:
    """The application, which answers pages of these origins (`https://app.example`) too."""
    if not origins:
        return application
    allowed = {origin.encode() for origin in origins}

    async def with_headers(scope: Any, receive: Any, send: Any) -> None:
        if not scope["path"].startswith(PATHS):
            await application(scope, receive, send)
            return
        headers = dict(scope["headers"])
        origin = headers.get(b"origin")
        added = [(b"vary", b"origin")]
        if origin in allowed:
            added.append((b"access-control-allow-origin", origin))
        if scope["method"] == "OPTIONS" and b"access-control-request-method" in headers:
            # By the browser itself, without the key. Whoever is not allowed is not told more than that.
            added += _PREFLIGHT if origin in allowed else []
            await send({"type": "http.response.start", "status": 204, "headers": added})
            await send({"type": "http.response.body"})
            return

        async def send_with_headers(message: Any) -> None:
            if message["type"] == "http.response.start":
                extra = added + _EXPOSED if origin in allowed else added
                message = {**message, "headers": [*message.get("headers", ()), *extra]}
            await send(message)

        await application(scope, receive, send_with_headers)

    return with_headers
