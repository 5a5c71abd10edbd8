"""When the server pings its workers: each at least once in an interval, and many in one go."""

from __future__ import annotations

import asyncio
import socket

import pytest
from uvicorn.server import ServerState

from queueapp.conf import config
from queueapp.server.uvicorn import PINGS_TOGETHER, QueueServer, WorkerProtocol


async def scheduled(connections: int, last_ping_rtt: float = 0.0) -> list[tuple[float, float]]:
    """For each connection when it asked for its next ping, and when that will leave."""
    loop = asyncio.get_running_loop()
    with socket.socket() as listening:
        settings = QueueServer(None, listening).config
        settings.load()
        delays = []
        for _ in range(connections):
            protocol = WorkerProtocol(settings, ServerState(), {}, loop)
            protocol.last_ping_rtt = last_ping_rtt
            asked_at = loop.time()
            protocol.schedule_ping()
            assert protocol.ping_timer is not None
            delays.append((asked_at, protocol.ping_timer.when()))
            protocol.stop_keepalive()
    return delays


@pytest.mark.asyncio
async def test_those_that_are_due_at_about_the_same_time_leave_at_the_same():
    delays = await scheduled(50)
    assert len({asked_at for asked_at, _ in delays}) > 10
    assert len({when for _, when in delays}) <= 3


@pytest.mark.asyncio
@pytest.mark.parametrize("last_ping_rtt", [0.0, 1.5])
async def test_none_leaves_late_or_much_too_early(last_ping_rtt):
    interval = config().ping_interval_seconds
    for asked_at, when in await scheduled(10, last_ping_rtt):
        assert when <= asked_at + interval - last_ping_rtt + 0.1
        assert when >= asked_at + interval - last_ping_rtt - interval / PINGS_TOGETHER
