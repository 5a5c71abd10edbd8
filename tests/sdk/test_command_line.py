"""The options of a worker program, what it shows and how it ends."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
from pathlib import Path

import pytest
from programs import program
from scripted_peer import Peer

MODULE = """
import asyncio, sys
from queueapp.sdk import Worker

worker = Worker()

@worker.task("tag", cloud=["gcp", "aws"])
def tag(task):
    task.logger.info("tagging")
    return "{version}"

@worker.task("hang")
async def hang(task):
    print("begun", flush=True)
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass

@worker.task("wait")
def wait(task):
    print("begun", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def module(tmp_path: Path) -> str:
    write_module(tmp_path, version="first")
    return "shown_handlers"


def write_module(directory: Path, version: str) -> None:
    (directory / "shown_handlers.py").write_text(MODULE.replace("{version}", version))


async def test_a_banner_says_who_it_is_and_what_it_performs(server: Peer, module: str, tmp_path: Path) -> None:
    async with program(tmp_path, module, "--url", server.url, "--name", "tagger") as process:
        await (await server.attached()).socket.close(4409)
        _, errors = await process.communicate()
    assert f"Worker tagger at {server.url}\n".encode() in errors
    assert "  tag cloud=aws,gcp → tag, in a thread\n  hang → hang, on the loop\n".encode() in errors


async def test_the_log_may_be_json_line_by_line(server: Peer, module: str, tmp_path: Path) -> None:
    async with program(tmp_path, module, "--url", server.url, "--log-format", "json", "--once") as process:
        attached = await server.attached()
        await attached.give("t1")
        await attached.acknowledge(await attached.hear())
        assert await attached.hear() == {"kind": "drain"}
        await attached.say(kind="drain", reason="Confirmed.")
        _, errors = await process.communicate()
        assert process.returncode == 0
    records = [json.loads(line) for line in errors.splitlines()]
    assert all({"time", "level", "logger", "message"} <= set(record) for record in records)
    [told] = [record for record in records if record["message"] == "tagging"]
    assert (told["task_id"], told["task_name"], told["attempt"]) == ("t1", "tag", 1)


async def test_on_a_terminal_a_line_says_how_it_goes(server: Peer, module: str, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    try:
        async with program(tmp_path, module, "--url", server.url, stderr=theirs) as process:
            os.close(theirs)
            attached = await server.attached()
            await attached.give("t1")
            await attached.acknowledge(await attached.hear())
            shown = b""
            while b"attached \xc2\xb7 0 running \xc2\xb7 0 waiting \xc2\xb7 1 done" not in shown:
                shown += await asyncio.to_thread(os.read, ours, 4096)
            process.send_signal(signal.SIGTERM)
            assert await attached.hear() == {"kind": "drain"}
            await attached.say(kind="drain", reason="Confirmed.")
            assert await process.wait() == 0
    finally:
        os.close(ours)


async def test_a_drain_that_takes_too_long_gives_back_what_runs_and_says_so(
    server: Peer, module: str, tmp_path: Path
) -> None:
    async with program(tmp_path, module, "--url", server.url, "--drain-timeout", "0.1") as process:
        assert process.stdout is not None
        attached = await server.attached()
        await attached.give("t1", task_name="wait")
        assert await process.stdout.readline() == b"begun\n"
        process.send_signal(signal.SIGTERM)
        assert await attached.hear() == {"kind": "drain"}
        await attached.say(kind="drain", reason="Confirmed.")
        assert await attached.hear() == {"kind": "release", "task_id": "t1"}
        assert await process.wait() == 3


async def test_a_handler_that_cannot_be_cancelled_does_not_keep_the_process(
    server: Peer, module: str, tmp_path: Path
) -> None:
    async with program(tmp_path, module, "--url", server.url) as process:
        assert process.stdout is not None
        attached = await server.attached()
        await attached.give("t1", task_name="hang")
        assert await process.stdout.readline() == b"begun\n"
        process.send_signal(signal.SIGTERM)
        assert await attached.hear() == {"kind": "drain"}
        await attached.say(kind="drain", reason="Confirmed.")
        process.send_signal(signal.SIGTERM)
        assert await attached.hear() == {"kind": "release", "task_id": "t1"}
        assert await process.wait() == 128 + signal.SIGTERM


async def test_it_starts_anew_when_its_source_changes(server: Peer, module: str, tmp_path: Path) -> None:
    async def performed() -> str:
        attached = await server.attached()
        await attached.give("t1")
        result = await attached.hear()
        await attached.acknowledge(result)
        return str(result["data"])

    async with program(tmp_path, module, "--url", server.url, "--reload") as process:
        assert process.stderr is not None
        assert await performed() == "first"
        (tmp_path / "shown_handlers.py").write_text("a mistake")
        while b"SyntaxError" not in await process.stderr.readline():
            pass
        write_module(tmp_path, version="second")
        assert await performed() == "second"


async def test_help_says_what_the_exit_statuses_mean(tmp_path: Path) -> None:
    async with program(tmp_path, "--help") as process:
        said, _ = await process.communicate()
        assert b"exit status: 0 drained" in said
