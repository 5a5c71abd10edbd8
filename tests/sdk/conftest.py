"""Workers served by a scripted peer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from scripted_peer import Peer, peer

from queueapp.sdk import ReconnectBackoff, Worker

Serve = Callable[..., asyncio.Task[None]]

AT_ONCE = ReconnectBackoff(initial_seconds=0.0, max_seconds=0.0)


@pytest.fixture
async def server() -> AsyncIterator[Peer]:
    async with peer() as running:
        yield running


@pytest.fixture
async def serve(server: Peer) -> AsyncIterator[Serve]:
    """Starts a worker against the peer; stops it at the end of the test."""
    serving: list[asyncio.Task[None]] = []

    def start(worker: Worker, **options: Any) -> asyncio.Task[None]:
        options = {"backoff": AT_ONCE, "concurrency": 1, "max_outstanding": 2, **options}
        serving.append(asyncio.create_task(worker.serve(server.url, "wq_secret", **options)))
        return serving[-1]

    yield start
    for task in serving:
        task.cancel()
    await asyncio.gather(*serving, return_exceptions=True)
