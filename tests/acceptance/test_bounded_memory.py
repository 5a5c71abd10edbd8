"""What a worker can make the server keep for it: measured as the most memory that the process ever had.

The bounds are far above what is measured (it is printed with `-s`) and far below what is sent.
"""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path
from uuid import uuid4

import pytest
from processes import PATIENCE_SECONDS, Server, eventually, messages, receive

MEBIBYTE = 1024 * 1024
V1 = {"subprotocols": ["workqueue.v1"]}

HANDSHAKE = (
    "GET /work/queue?task={task}&_max_outstanding=1000 HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
    "Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Protocol: workqueue.v1\r\nAuthorization: Bearer {key}\r\n\r\n"
)

TASKS, TASK_BYTES = 270, 900_000
MOST_MEBIBYTES = 150
"""Of which 64 are the cache of SQLite, which keeps the rows that are written."""
FLOOD_FRAMES = 200


class Growth:
    """How much the server's memory has grown at its highest since this was made."""

    def __init__(self, server: Server) -> None:
        assert server.process is not None
        self._process = Path(f"/proc/{server.process.pid}")
        (self._process / "clear_refs").write_text("5")  # the peak begins anew
        self._before = self._peak()

    def mebibytes(self) -> float:
        return (self._peak() - self._before) / MEBIBYTE

    def _peak(self) -> int:
        (line,) = [each for each in (self._process / "status").read_text().splitlines() if "VmHWM" in each]
        return int(line.split()[1]) * 1024


async def turns_of_the_slow_poll(server: Server, count: int) -> None:
    """Nothing else ends a task that nobody performs when its time is over."""
    for _ in range(count):
        (task_id,) = await server.submit({"name": "nobodys", "expires_in": 0.001})
        assert (await server.task(task_id, wait=30))["state"] == "expired"


pytestmark = pytest.mark.only_on(
    "postgresql", reason="what a process keeps is the same on either, and this takes long"
)


@pytest.fixture(autouse=True)
def needs_proc():
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("the peak of another process's memory is read from /proc")


async def test_a_worker_that_does_not_read_costs_a_part_of_what_waits_for_it_and_then_gets_all(server):
    for _ in range(TASKS // 9):
        await server.submit(*[{"name": "large", "data": "x" * TASK_BYTES}] * 9)
    growth = Growth(server)
    with socket.create_connection(("127.0.0.1", server.port)) as deaf:
        deaf.sendall(HANDSHAKE.format(task="large", key=server.keys["worker"]).encode())
        assert b"101 Switching Protocols" in deaf.recv(1000)

        async def assigned() -> bool:
            return (await server.counts("large"))["assigned"] == TASKS

        await eventually(assigned)
        # It compares what was sent with the rows.
        await turns_of_the_slow_poll(server, 3)
        mebibytes = growth.mebibytes()
    print(f"\n{TASKS * TASK_BYTES / MEBIBYTE:.0f} MiB for a worker that does not read: {mebibytes:.0f} MiB")
    async with server.worker("?task=large&_max_outstanding=1000", max_size=None, **V1) as heir:
        await receive(heir)
        tasks = await messages(heir, TASKS)
    assert len({task["task_id"] for task in tasks}) == TASKS
    assert mebibytes < MOST_MEBIBYTES


@pytest.mark.parametrize("subprotocol", ["workqueue.v1", "none"])
async def test_a_worker_that_says_more_than_can_be_dealt_with_is_read_no_faster(server, subprotocol):
    """Results of tasks that nobody knows, a mebibyte at a time, by one that reads no answers."""
    frame = json.dumps([{"task_id": str(uuid4()), "result": "done", "data": "x" * 900}] * 900)
    growth = Growth(server)
    async with server.worker("?task=flood", subprotocols=[subprotocol], max_queue=1) as worker:
        sent = 0
        try:
            async with asyncio.timeout(8):
                for _ in range(FLOOD_FRAMES):
                    await worker.send(frame)
                    sent += 1
        except TimeoutError:
            pass
        mebibytes = growth.mebibytes()
        worker.transport.abort()
    print(f"\n{sent * len(frame) / MEBIBYTE:.0f} MiB of results from {subprotocol}: {mebibytes:.0f} MiB")
    assert sent > 3
    assert mebibytes < 60
    async with asyncio.timeout(PATIENCE_SECONDS), server.worker("?task=flood", **V1) as other:
        assert (await receive(other))[0]["kind"] == "welcome"
