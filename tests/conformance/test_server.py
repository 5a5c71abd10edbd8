"""The conformance run against this project's own server, and against the same with one thing wrong."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys

from processes import ROOT, Server
from tampering import DEFECTS, Defect, tampering
from watching import seen_in_time

from queueapp.conformance import cli
from queueapp.conformance.stories import Finding, Verdict, found
from queueapp.conformance.visitor import Server as Tried


def keys(server: Server) -> list[str]:
    return [f"--{role}-key={server.keys[role]}" for role in ("worker", "producer", "operator")]


def tried(server: Server, url: str, patience_seconds: float, quiet_seconds: float) -> Tried:
    rest = f"http://127.0.0.1:{server.port}/api/v1"
    keys = (server.keys[name] for name in ("worker", "producer", "operator"))
    return Tried(url, rest, *keys, patience_seconds=patience_seconds, quiet_seconds=quiet_seconds)


def test_the_server_keeps_every_rule(server: Server):
    """By the command, as a stranger runs it."""
    command = [
        sys.executable,
        "manage.py",
        "conformance",
        f"ws://127.0.0.1:{server.port}",
        "--json",
        "--patience=60",
        *keys(server),
    ]
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


async def test_every_story_sees_the_server_that_breaks_its_rule(server: Server):
    """The same story is kept through the same proxy without the defect."""
    names = [story.name for story in reversed(cli.SERVER_STORIES)]  # the last ones take longest
    assert set(names) == set(DEFECTS)
    room = asyncio.Semaphore(6)

    async def through(name: str, defect: Defect, patience_seconds: float, quiet_seconds: float = 1) -> Finding:
        async with room, tampering(server.port, defect) as url:
            (story,) = [story for story in cli.SERVER_STORIES if story.name == name]
            visitor = tried(server, url, patience_seconds, quiet_seconds).visitor()
            return await found(story, lambda story: story.play(visitor))

    async def with_its_defect(name: str) -> Finding:
        defect = DEFECTS[name]
        return await seen_in_time(
            lambda seconds: through(name, defect, defect.comes_after_seconds + 3 * seconds, quiet_seconds=seconds)
        )

    async def with_and_without(name: str) -> tuple[Finding, Finding]:
        return await asyncio.gather(with_its_defect(name), through(name, Defect(), 60))

    broken, kept = zip(*await asyncio.gather(*map(with_and_without, names)), strict=True)
    assert [each.line() for each in kept if each.verdict is not Verdict.KEPT] == []
    assert [each.story for each in broken if each.verdict is not Verdict.BROKEN] == []
    assert all(each.seen != "as expected" for each in broken)
