"""Counts the HTTP requests that the server has answered, whoever answers them."""

from __future__ import annotations

from typing import Any

from queueapp.api.bodylimit import Application
from queueapp.counters import requests

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


def with_requests_counted(application: Application) -> Application:
    async def counted(scope: Any, receive: Any, send: Any) -> None:
        async def send_and_count(message: Any) -> None:
            if message["type"] == "http.response.start":
                method = scope["method"] if scope["method"] in METHODS else "other"
                requests.add(method, str(message["status"]))
            await send(message)

        await application(scope, receive, send_and_count)

    return counted
