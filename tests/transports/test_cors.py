"""Pages of other sites: kept out, unless the setting names them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from django.core.asgi import get_asgi_application

from queueapp.api.base import off_loop
from queueapp.api.cors import with_cors
from queueapp.api.handler import with_keys_apart
from queueapp.auth import create_key

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = "https://app.example"


async def ask(
    origins: Sequence[str], method: str, path: str = "/api/v1/queues", **headers: str
) -> tuple[int, dict[str, str]]:
    """The status and headers of the whole application's answer."""
    application = with_cors(with_keys_apart(get_asgi_application()), origins)
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"",
        "headers": [
            (b"host", b"localhost"),
            *((name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()),
        ],
    }
    sent: list[Any] = []
    received = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive() -> Any:
        if not received:
            await asyncio.Event().wait()  # the client stays
        return received.pop()

    async def send(message: Any) -> None:
        sent.append(message)

    await application(scope, receive, send)
    names = [(name.decode().lower(), value.decode()) for name, value in sent[0]["headers"]]
    return sent[0]["status"], dict(names)


def preflight(origin: str) -> dict[str, str]:
    return {
        "origin": origin,
        "access_control_request_method": "POST",
        "access_control_request_headers": "authorization,content-type",
    }


async def bearer() -> str:
    _, text = await off_loop(lambda: create_key("page", "producer"))
    return f"Bearer {text}"


class TestByDefault:
    async def test_no_page_of_another_site_reads_an_answer(self) -> None:
        status, headers = await ask([], "GET", origin=PAGE, authorization=await bearer())
        assert status == 200
        assert not [name for name in headers if name.startswith("access-control")]

    async def test_a_browser_that_asks_first_is_not_told_that_it_may(self) -> None:
        status, headers = await ask([], "OPTIONS", **preflight(PAGE))
        assert status == 401
        assert not [name for name in headers if name.startswith("access-control")]


class TestASiteThatIsNamed:
    async def test_may_ask_with_a_key_and_read_the_answer(self) -> None:
        status, headers = await ask([PAGE], "OPTIONS", **preflight(PAGE))
        assert status == 204
        assert headers["access-control-allow-origin"] == PAGE
        assert "POST" in headers["access-control-allow-methods"]
        assert {"authorization", "content-type"} <= set(headers["access-control-allow-headers"].split(", "))
        status, headers = await ask([PAGE], "GET", origin=PAGE, authorization=await bearer())
        assert (status, headers["access-control-allow-origin"]) == (200, PAGE)
        assert "origin" in headers["vary"].lower()

    async def test_reads_refusals_too(self) -> None:
        status, headers = await ask([PAGE], "GET", origin=PAGE, authorization="Bearer wq_nobody")
        assert (status, headers["access-control-allow-origin"]) == (401, PAGE)

    async def test_never_comes_with_the_session_of_an_admin_user(self) -> None:
        _, headers = await ask([PAGE], "OPTIONS", **preflight(PAGE))
        assert "access-control-allow-credentials" not in headers

    async def test_reads_no_page_of_the_admin(self) -> None:
        _, headers = await ask([PAGE], "GET", "/admin/login/", origin=PAGE)
        assert "access-control-allow-origin" not in headers

    @pytest.mark.parametrize("other", ["https://evil.example", "https://app.example.evil", "null"])
    async def test_is_no_other(self, other: str) -> None:
        status, headers = await ask([PAGE], "OPTIONS", **preflight(other))
        assert status == 204
        assert not [name for name in headers if name.startswith("access-control")]
        _, headers = await ask([PAGE], "GET", origin=other, authorization=await bearer())
        assert "access-control-allow-origin" not in headers
