"""Workers served by a scripted peer."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from clock import Clock
from scripted_peer import Peer, peer

from queueapp.sdk import ReconnectBackoff, Worker, connection

Serve = Callable[..., asyncio.Task[None]]

PATIENCE_SECONDS = 30
AT_ONCE = ReconnectBackoff(initial_seconds=0.0, max_seconds=0.0)


@pytest.fixture
async def server() -> AsyncIterator[Peer]:
    async with peer() as running:
        yield running


@pytest.fixture
async def clock(server: Peer, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Clock]:
    """Nobody is taken for dead because the clock was put forward, unless the test says so; how long the test
    itself waits is measured by another."""
    monkeypatch.setattr(connection, "PING_SECONDS", None)
    server.heartbeat_seconds = server.patience_seconds = 1e6

    def give_up(number: int, frame: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(PATIENCE_SECONDS)
    yield Clock(asyncio.get_running_loop())
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
async def serve(server: Peer) -> AsyncIterator[Serve]:
    """Starts a worker against the peer; stops it at the end of the test."""
    serving: list[asyncio.Task[None]] = []

    def start(worker: Worker, **options: Any) -> asyncio.Task[None]:
        options = {"backoff": AT_ONCE, "concurrency": 1, "max_outstanding": 2, "resend_seconds": 1e6, **options}
        serving.append(asyncio.create_task(worker.serve(server.url, "wq_secret", **options)))
        return serving[-1]

    yield start
    for task in serving:
        task.cancel()
    await asyncio.gather(*serving, return_exceptions=True)
