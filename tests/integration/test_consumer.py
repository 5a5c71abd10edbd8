"""A consumer whose peer leaves while it is spoken to. The ASGI server is played, and raises what uvicorn does."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from uvicorn.protocols.utils import ClientDisconnected

from queueapp.consumers import WorkerConsumer
from queueapp.hub import stop_hub

PATIENCE_SECONDS = 60

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
async def hub() -> AsyncIterator[None]:
    """The consumer starts it."""
    yield
    await stop_hub()


class Connection:
    """`leaves_at`: the peer is gone before that message, and the server says so from then on."""

    def __init__(self, query: bytes, leaves_at: str) -> None:
        self.scope = {"type": "websocket", "query_string": query, "headers": [], "subprotocols": []}
        self.has_left = asyncio.Event()
        self._leaves_at = leaves_at
        self._said = [{"type": "websocket.connect"}]

    async def serve(self) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await WorkerConsumer.as_asgi()(self.scope, self._receive, self._send)
        gc.collect()  # what a task raised that nobody looks at is reported when it goes

    async def _receive(self) -> dict[str, Any]:
        if self._said:
            return self._said.pop()
        await self.has_left.wait()
        return {"type": "websocket.disconnect", "code": 1006}

    async def _send(self, message: dict[str, Any]) -> None:
        if message["type"] == self._leaves_at or self.has_left.is_set():
            self.has_left.set()
            raise ClientDisconnected


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]


@pytest.mark.parametrize("leaves_at", ["websocket.accept", "websocket.close"])
async def test_one_that_leaves_before_it_is_refused_is_no_error(caplog, leaves_at):
    await Connection(b"_unknown=1", leaves_at).serve()
    assert errors(caplog) == []


async def test_one_that_leaves_when_its_time_to_say_who_it_is_is_over_is_no_error(caplog, settings):
    settings.WORKQUEUE = replace(settings.WORKQUEUE, authentication_timeout_seconds=0.01)
    await Connection(b"task=t", "websocket.close").serve()
    assert errors(caplog) == []
