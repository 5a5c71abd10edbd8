"""The conformance run against workers: this project's, those in other languages, and ones with one thing wrong."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from processes import ROOT
from watching import seen_in_time

from queueapp.conformance import cli
from queueapp.conformance.host import Worker, hosting
from queueapp.conformance.stories import Finding, Verdict, found

HERE = Path(__file__).parent
LETS_GO_AFTER_SECONDS = 21
"""What `wrong_worker` takes, ping and close, where it is right, to give up a server that does not answer."""


def run(command: str, *options: str, **environment: str) -> tuple[int, dict]:
    ended = subprocess.run(
        [sys.executable, "-m", "queueapp.conformance", "--worker", command, "--json", *options],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=170,
        check=False,
    )
    return ended.returncode, json.loads(ended.stdout)


def not_kept(report: dict) -> list[str]:
    return [f"{each['story']}: {each['seen']}" for each in report["stories"] if each["verdict"] == "broken"]


def test_the_sdk_keeps_every_rule():
    keeps_every_rule(f"exec {sys.executable} -m queueapp.sdk examples.tagging --url {{url}}")


def test_an_old_worker_without_the_subprotocol_keeps_what_it_can():
    """One that comes only once, and that asks for nothing; it is not asked for what only v1 promises."""
    command = f'exec {sys.executable} examples/ten_lines.py "{{url}}" "{{token}}"'
    stories = ("attaches", "several-tasks", "unknown-members", "slow-reader", "messages-of-no-concern", "lost-ack")
    status, report = run(command, *(f"--only={name}" for name in stories))
    verdicts = {each["story"]: each["verdict"] for each in report["stories"]}
    assert verdicts == {
        **dict.fromkeys(stories[:4], "kept"),
        "messages-of-no-concern": "skipped",
        "lost-ack": "skipped",
    }
    assert status == 0


async def found_by(
    name: str, breaks: str, patience_seconds: float, quiet_seconds: float, pause_seconds: float
) -> Finding:
    """`pause_seconds`: the worker's before it comes again, which is to be told from what a busy machine adds."""
    command = f"exec {sys.executable} {HERE / 'wrong_worker.py'} {breaks} {pause_seconds}"
    half_open_seconds = LETS_GO_AFTER_SECONDS + patience_seconds
    hammering_seconds = pause_seconds / 2
    worker = Worker(command, "hello", patience_seconds, quiet_seconds, half_open_seconds, hammering_seconds)
    (story,) = [story for story in cli.WORKER_STORIES if story.name == name]

    async def on_a_stage(story):
        async with hosting(worker) as host:
            await story.play(host)

    return await found(story, on_a_stage)


async def test_every_story_sees_the_worker_that_breaks_its_rule_and_not_the_one_that_does_not():
    room = asyncio.Semaphore(4)

    async def judged(name: str, breaks: str, patience_seconds: float, **seconds: float) -> Finding:
        async with room:
            return await found_by(name, breaks, patience_seconds, **seconds)

    async def by_its_breach(name: str) -> Finding:
        return await seen_in_time(
            lambda seconds: judged(name, name, 4 * seconds, quiet_seconds=3 * seconds, pause_seconds=seconds)
        )

    async def with_and_without(name: str) -> tuple[Finding, Finding]:
        return await asyncio.gather(
            by_its_breach(name), judged(name, "none", 60, quiet_seconds=3, pause_seconds=1)
        )

    names = [story.name for story in reversed(cli.WORKER_STORIES)]  # the last ones take longest
    broken, kept = zip(*await asyncio.gather(*map(with_and_without, names)), strict=True)
    assert [each.line() for each in kept if each.verdict is not Verdict.KEPT] == []
    assert [each.story for each in broken if each.verdict is not Verdict.BROKEN] == []


def test_a_run_with_a_broken_must_fails_and_one_with_a_broken_should_does_not():
    wrong = f"exec {sys.executable} tests/conformance/wrong_worker.py"
    status, report = run(f"{wrong} duplicate-task", "--only=duplicate-task", "--patience=4")
    assert (status, report["passed"]) == (1, False)
    status, report = run(f"{wrong} lost-ack", "--only=lost-ack", "--patience=2")
    assert (status, report["passed"], report["stories"][0]["verdict"]) == (0, True, "broken")


def test_a_worker_that_does_not_start_is_reported_with_its_exit_status():
    status, report = run("exit 3", "--only=attaches", "--patience=5")
    assert status == 1
    assert "its process ended with 3" in report["stories"][0]["seen"]


class TestWorkersInOtherLanguages:
    """Skipped where the toolchain is not: nodejs, node-ws, golang-go, golang-github-gorilla-websocket-dev."""

    def test_the_one_in_node_keeps_every_rule(self):
        environment = {**os.environ, "NODE_PATH": "/usr/share/nodejs"}  # where Debian keeps `ws`
        if (
            not shutil.which("node")
            or subprocess.run(
                ["node", "-e", "require('ws')"], env=environment, capture_output=True, check=False
            ).returncode
        ):
            pytest.skip("Node.js with the ws package is not installed here")
        keeps_every_rule("exec node examples/workers/node/worker.js", NODE_PATH="/usr/share/nodejs")

    def test_the_one_in_go_keeps_every_rule(self, tmp_path):
        packages = Path("/usr/share/gocode")  # where Debian keeps gorilla/websocket
        if not shutil.which("go") or not (packages / "src/github.com/gorilla/websocket").is_dir():
            pytest.skip("Go with the gorilla/websocket package is not installed here")
        environment = {"GO111MODULE": "off", "GOPATH": str(packages), "GOCACHE": str(tmp_path / "cache")}
        build = ["go", "build", "-o", str(tmp_path / "worker"), "."]
        subprocess.run(build, cwd=ROOT / "examples/workers/go", env={**os.environ, **environment}, check=True)
        keeps_every_rule(f"exec {tmp_path / 'worker'}")


def keeps_every_rule(command: str, **environment: str) -> None:
    status, report = run(command, **environment)
    assert (not_kept(report), status) == ([], 0)
    kept = [each["story"] for each in report["stories"] if each["verdict"] == "kept"]
    assert sorted(kept) == sorted(story.name for story in cli.WORKER_STORIES)
