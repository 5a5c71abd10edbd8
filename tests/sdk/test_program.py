"""A worker as a program: signals, exit statuses, and finding handlers in modules."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from programs import program
from scripted_peer import Peer

from queueapp.sdk import Worker
from queueapp.sdk.cli import UnusableModule, load_workers

MODULE = """
import sys
from queueapp.sdk import Worker

worker = Worker()
others = Worker()

@worker.task("tag")
def tag(task):
    print("begun", flush=True)
    sys.stdin.readline()
    return "finished"

@others.task("collect")
async def collect(task):
    return task.data
"""


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "sdk_program_handlers.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    return "sdk_program_handlers"


async def test_the_first_signal_drains_and_ends_with_status_0(server: Peer, module: str, tmp_path: Path) -> None:
    async with program(tmp_path, module, "--url", server.url, "--concurrency", "1") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        attached = await server.attached()
        await attached.give("t1")
        assert await process.stdout.readline() == b"begun\n"
        process.send_signal(signal.SIGTERM)
        assert await attached.hear() == {"kind": "drain"}
        await attached.say(kind="drain", reason="Confirmed.")
        process.stdin.write(b"\n")
        await process.stdin.drain()
        result = await attached.hear()
        assert result["data"] == "finished"
        await attached.acknowledge(result)
        assert await attached.closed() == 1000
        assert await process.wait() == 0


async def test_a_second_signal_stops_at_once_whatever_a_handler_does(
    server: Peer, module: str, tmp_path: Path
) -> None:
    async with program(tmp_path, module, "--url", server.url) as process:
        assert process.stdout is not None
        attached = await server.attached()
        await attached.give("t1")
        assert await process.stdout.readline() == b"begun\n"
        process.send_signal(signal.SIGINT)
        assert await attached.hear() == {"kind": "drain"}
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 128 + signal.SIGINT


async def test_as_many_handlers_that_hang_as_it_bears_end_it_with_status_4(
    server: Peer, module: str, tmp_path: Path
) -> None:
    own = tmp_path / "own.py"
    own.write_text(
        f"import sys, {module}\n{module}.worker.run(sys.argv[1], 'wq_x', grace_seconds=0, hanging_limit=1)\n"
    )
    async with program(tmp_path, server.url, of=(str(own),)) as process:
        attached = await server.attached()
        await attached.give("t1", timeout=0.1)
        while await attached.hear() != {"kind": "drain"}:
            pass
        await attached.say(kind="drain", reason="Confirmed.")
        _, errors = await process.communicate()
        assert process.returncode == 4
        assert errors.count(b"Handlers hang (1)") == 1
        assert b"Traceback" not in errors


async def test_a_refusal_is_said_clearly_and_ends_with_status_1(server: Peer, module: str, tmp_path: Path) -> None:
    async with program(tmp_path, module, "--url", server.url) as process:
        await (await server.attached()).socket.close(4403, "The key may not perform tag.")
        _, errors = await process.communicate()
        assert process.returncode == 1
        assert b"The server refused this worker (4403): The key may not perform tag." in errors
        assert b"Traceback" not in errors


@pytest.mark.parametrize("arguments", [("no_such_module",), ("json",), ("sdk_program_handlers", "--url", "x")])
async def test_unusable_arguments_end_with_status_2(
    module: str, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    async with program(tmp_path, *arguments) as process:
        _, errors = await process.communicate()
        assert process.returncode == 2
        assert b"Traceback" not in errors


def test_the_handlers_of_several_modules_make_one_worker(module: str) -> None:
    worker = load_workers([module, f"{module}:others"])
    assert [each.name for each in worker.subscriptions] == ["tag", "collect"]
    assert isinstance(worker, Worker)


def test_a_module_without_a_worker_is_refused(module: str) -> None:
    with pytest.raises(UnusableModule, match="has no Worker named missing"):
        load_workers([f"{module}:missing"])
