"""The worker of fifteen lines, as a program against a real server: what Ctrl-C in its midst comes to."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TextIO

from processes import PATIENCE_SECONDS, ROOT, Server, eventually, started_copy

from queueapp.sdk import Worker

PROGRAM = ROOT / "examples" / "fifteen_lines.py"


@asynccontextmanager
async def worker(server: Server) -> AsyncIterator[Process]:
    environment = {**os.environ, "WORKQUEUE_TOKEN": server.keys["worker"], "PYTHONPATH": str(ROOT)}
    command = (sys.executable, str(PROGRAM), f"ws://127.0.0.1:{server.port}")
    process = await asyncio.create_subprocess_exec(*command, env=environment)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def states(server: Server, ids: list[str]) -> list[str]:
    return [(await server.task(task_id))["state"] for task_id in ids]


async def attempts(server: Server, task_id: str) -> list[str]:
    async with server.api("producer") as api:
        return [each["outcome"] for each in (await api.get(f"/tasks/{task_id}/attempts")).json()["results"]]


async def test_ctrl_c_finishes_what_runs_gives_back_the_rest_and_counts_nothing(server: Server, tmp_path: Path):
    pipe, file = tmp_path / "pipe", tmp_path / "file"
    os.mkfifo(pipe)
    file.write_text("one\ntwo\n")

    def read(path: Path) -> dict:
        data = {"path": str(path), "blocks": 1}
        return {"name": "read", "attrs": {"host": "db1"}, "data": data, "max_attempts": 1}

    running, *others = await server.submit(read(pipe), read(file), read(file))
    async with worker(server) as process:
        # It can be written to once the handler reads from it: then the handler is in the middle of its work.
        with await eventually(lambda: opened(pipe)) as end:
            await eventually(lambda: held(server, others[0]))
            process.send_signal(signal.SIGINT)
            await eventually(lambda: given_back(server, others))
            assert await states(server, [running]) == ["assigned"]
            end.write("one\n")
        assert await process.wait() == 0
    task = await server.task(running)
    assert (task["state"], task["result"], task["attempt"]) == ("succeeded", 1, 1)
    assert await attempts(server, others[0]) == ["released"]

    async with worker(server) as process:
        assert [(await server.task(task_id, wait=30))["result"] for task_id in others] == [2, 2]
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 0


async def test_a_result_that_is_larger_than_the_server_takes_ends_as_an_error_that_says_so(
    prepared: Server, tmp_path: Path
):
    handlers = Worker()
    handlers.task("large")(lambda task: "x" * 60_000)
    with started_copy(prepared, tmp_path, WORKQUEUE_FRAME_LIMIT_BYTES="50000") as server:
        url, key = f"ws://127.0.0.1:{server.port}", server.keys["worker"]
        serving = asyncio.create_task(handlers.serve(url, key))
        (task_id,) = await server.submit({"name": "large"})
        task = await server.task(task_id, wait=30)
        assert await attempts(server, task_id) == ["lost", "error"]
        handlers.drain()
        await serving
    assert task["state"] == "failed"
    assert task["error"].startswith("The result is too large to send")


async def opened(pipe: Path) -> TextIO | None:
    """For writing, which nobody waits for, unless nobody reads."""
    try:
        return os.fdopen(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK), "w")
    except OSError:
        return None


async def held(server: Server, task_id: str) -> bool:
    return await states(server, [task_id]) == ["assigned"]


async def given_back(server: Server, ids: list[str]) -> bool:
    return await states(server, ids) == ["pending"] * len(ids)
