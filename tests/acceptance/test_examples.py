"""The workers that the README shows, run as it says."""

from __future__ import annotations

import asyncio
import shutil
import sys

import pytest
from processes import ROOT, Server

pytestmark = pytest.mark.only_on("sqlite", reason="what a process says and hears is the same on either database")


@pytest.mark.parametrize(
    "command",
    [
        [sys.executable, "examples/ten_lines.py"],
        pytest.param(
            ["node", "--experimental-websocket", "examples/ten_lines.mjs"],
            marks=pytest.mark.skipif(not shutil.which("node"), reason="Node is not installed here"),
        ),
    ],
    ids=["python", "node"],
)
async def test_a_worker_of_ten_lines_performs_a_task(server: Server, command: list[str]):
    worker = await asyncio.create_subprocess_exec(
        *command, f"ws://127.0.0.1:{server.port}", server.keys["worker"], cwd=ROOT
    )
    try:
        (task_id,) = await server.submit({"name": "upper", "attrs": {"lang": "en"}, "data": "hello"})
        assert (await server.task(task_id, wait=30))["result"] == "HELLO"
    finally:
        worker.kill()
        await worker.wait()
