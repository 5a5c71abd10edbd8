"""The conformance run against this project's own server, and against the same with one thing wrong."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from typing import Any

import pytest
from processes import ROOT, Server
from tampering import DEFECTS, Defect, tampering

from queueapp.conformance import cli
from queueapp.conformance.stories import Level, Verdict, _found
from queueapp.conformance.visitor import Server as Tried


def keys(server: Server) -> list[str]:
    return [f"--{role}-key={server.keys[role]}" for role in ("worker", "producer", "operator")]


def tried(server: Server, url: str, patience_seconds: float) -> Tried:
    rest = f"http://127.0.0.1:{server.port}/api/v1"
    names = ("worker", "producer", "operator")
    return Tried(url, rest, *(server.keys[name] for name in names), patience_seconds=patience_seconds)


async def played(name: str, server: Tried) -> Any:
    (story,) = [story for story in cli.SERVER_STORIES if story.name == name]
    return await _found(story, lambda story: story.play(server.visitor()))


def test_the_server_keeps_every_rule(server: Server):
    """By the command, as a stranger runs it."""
    command = [sys.executable, "manage.py", "conformance", f"ws://127.0.0.1:{server.port}", "--json", *keys(server)]
    ended = subprocess.run(
        command, cwd=ROOT, env=server.environment, capture_output=True, text=True, timeout=170, check=False
    )
    report = json.loads(ended.stdout)
    assert [story for story in report["stories"] if story["verdict"] != "kept"] == []
    assert len(report["stories"]) == len(cli.SERVER_STORIES)
    assert (report["passed"], ended.returncode) == (True, 0)


async def test_the_run_fails_and_says_what_it_saw_where_a_must_is_broken(server: Server):
    async with tampering(server.port, DEFECTS["acknowledged"]) as url:
        command = [sys.executable, "-m", "queueapp.conformance", url, "--only=acknowledged", "--patience=2"]
        rest = f"--rest=http://127.0.0.1:{server.port}/api/v1"
        process = await asyncio.create_subprocess_exec(
            *command, rest, *keys(server), cwd=ROOT, stdout=asyncio.subprocess.PIPE
        )
        printed, _ = await process.communicate()
    assert process.returncode == 1
    assert b"FAIL MUST   acknowledged: A result is acknowledged" in printed
    assert b"seen: " in printed


@pytest.mark.parametrize("name", [story.name for story in cli.SERVER_STORIES])
async def test_every_story_sees_the_server_that_breaks_its_rule(server: Server, name: str):
    """The same story is kept without the defect."""
    async with tampering(server.port, Defect()) as url:
        kept = await played(name, tried(server, url, 30))
    assert kept.verdict is Verdict.KEPT, kept.seen
    async with tampering(server.port, DEFECTS[name]) as url:
        broken = await played(name, tried(server, url, 2))
    assert broken.verdict is Verdict.BROKEN
    assert broken.level is Level.MUST
    print(f"{name}: {broken.seen}")
