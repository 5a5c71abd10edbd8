"""The command line of the conformance run: `python -m queueapp.conformance`, and `manage.py conformance`."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Callable
from typing import Any

from queueapp.conformance import server_control, server_exchange, worker_stories
from queueapp.conformance.host import Host, Worker, hosting
from queueapp.conformance.stories import Finding, Level, Story, Verdict, play_all
from queueapp.conformance.visitor import Server, Visitor, endpoints

SERVER_STORIES = server_exchange.stories.all + server_control.stories.all
WORKER_STORIES = worker_stories.stories.all

Report = Callable[[Finding], None]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("url", nargs="?", help="the server: ws://host:port, or its worker route in full")
    parser.add_argument(
        "--worker",
        metavar="COMMAND",
        help="try a worker instead, started by the shell; where to go is in WORKQUEUE_URL and WORKQUEUE_TOKEN, "
        "and stands in the command for {url} and {token}",
    )
    parser.add_argument("--rest", default="", help="the REST base (default: /api/v1 of the server)")
    for role in ("worker", "producer", "operator"):
        variable = f"WORKQUEUE_{role.upper()}_KEY"
        parser.add_argument(
            f"--{role}-key", default=os.environ.get(variable, ""), help=f"or in the environment, as {variable}"
        )
    parser.add_argument("--only", action="append", metavar="STORY", help="play only this story; may be repeated")
    parser.add_argument("--data", default='"hello"', help="JSON that the worker is given to work on")
    parser.add_argument("--patience", type=float, default=30.0, help="seconds to wait for anything")
    parser.add_argument("--quiet", type=float, default=5.0, help="seconds to see that a worker stays away")
    parser.add_argument("--list", action="store_true", help="say which stories there are")
    parser.add_argument("--json", action="store_true", help="report as JSON, one object")


def run(arguments: argparse.Namespace) -> int:
    """Play the stories and report. The exit status: 0, or 1 where a MUST is broken. ValueError: bad arguments."""
    if arguments.list:
        for side, listed in (("server", SERVER_STORIES), ("worker", WORKER_STORIES)):
            for each in listed:
                print(f"{side} {each.level:6} {each.name}: {each.rule}")
        return 0
    if bool(arguments.url) == bool(arguments.worker):
        raise ValueError("Name a server's URL, or a worker's command with --worker.")
    report: Report = (lambda finding: None) if arguments.json else (lambda f: print(f.line(), flush=True))
    playing = _try_worker(arguments, report) if arguments.worker else _try_server(arguments, report)
    findings = asyncio.run(playing)
    if arguments.json:
        print(
            json.dumps({"passed": passes(findings), "stories": [each.document() for each in findings]}, indent=2)
        )
    else:
        counts = {verdict: sum(f.verdict is verdict for f in findings) for verdict in Verdict}
        print(", ".join(f"{count} {verdict}" for verdict, count in counts.items()), file=sys.stderr)
    return 0 if passes(findings) else 1


def passes(findings: list[Finding]) -> bool:
    return not any(each.verdict is Verdict.BROKEN and each.level is Level.MUST for each in findings)


async def _try_server(arguments: argparse.Namespace, report: Report) -> list[Finding]:
    url, rest = endpoints(arguments.url, arguments.rest)
    if not (arguments.worker_key and arguments.producer_key):
        raise ValueError("A server is tried with --worker-key and --producer-key.")
    server = Server(
        url,
        rest,
        arguments.worker_key,
        arguments.producer_key,
        arguments.operator_key,
        patience_seconds=arguments.patience,
    )

    async def on_a_stage(story: Story[Visitor]) -> None:
        await story.play(server.visitor())

    return await play_all(_chosen(SERVER_STORIES, arguments.only), on_a_stage, report)


async def _try_worker(arguments: argparse.Namespace, report: Report) -> list[Finding]:
    worker = Worker(
        arguments.worker,
        json.loads(arguments.data),
        patience_seconds=arguments.patience,
        quiet_seconds=arguments.quiet,
    )

    async def on_a_stage(story: Story[Host]) -> None:
        async with hosting(worker) as host:
            await story.play(host)

    return await play_all(_chosen(WORKER_STORIES, arguments.only), on_a_stage, report)


def _chosen(stories: list[Any], only: list[str] | None) -> list[Any]:
    unknown = set(only or ()) - {story.name for story in stories}
    if unknown:
        raise ValueError(f"There is no story {', '.join(sorted(unknown))}: --list says which there are.")
    return [story for story in stories if not only or story.name in only]


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m queueapp.conformance", description="Try a server or a worker."
    )
    add_arguments(parser)
    try:
        sys.exit(run(parser.parse_args()))
    except ValueError as problem:
        parser.error(str(problem))
