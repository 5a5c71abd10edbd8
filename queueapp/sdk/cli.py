"""The command line of a worker, shared by `python -m queueapp.sdk` and `manage.py work`."""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import sys
import traceback
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from queueapp.sdk import logs, program, reload
from queueapp.sdk.display import ProgressLine, banner
from queueapp.sdk.worker import HANGING_LIMIT, Worker

log = logging.getLogger("queueapp.sdk")

TOKEN_VARIABLE = "WORKQUEUE_TOKEN"
DEFAULT_ATTRIBUTE = "worker"
DEFAULT_URL = "ws://127.0.0.1:8000"
EXIT_STATUSES = """\
exit status: 0 drained, and all that was held is finished; 1 refused by the server; 2 unusable arguments;
3 a drain took longer than --drain-timeout, and what ran was given back; 4 so many handlers hang (--hanging-limit)
that it left, to be started anew; 128 + n after a second signal n."""


class UnusableModule(Exception):
    """A module named on the command line has no worker under the given name."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = EXIT_STATUSES
    parser.add_argument(
        "modules",
        nargs="+",
        metavar="MODULE[:NAME]",
        help=f"a module, and the name of the Worker in it (default: {DEFAULT_ATTRIBUTE})",
    )
    parser.add_argument("--url", default=DEFAULT_URL, help="the server (default: %(default)s)")
    parser.add_argument(
        "--token",
        default=os.environ.get(TOKEN_VARIABLE, ""),
        help=f"the API key; better in the environment, as {TOKEN_VARIABLE}: arguments are seen by others",
    )
    parser.add_argument("--name", default="", help="a label for operators")
    parser.add_argument("--concurrency", type=_positive, help="tasks at a time (default: one a CPU)")
    parser.add_argument("--max-outstanding", type=_positive, help="tasks held (default: twice as many)")
    parser.add_argument("--once", action="store_true", help="perform one task and leave")
    parser.add_argument(
        "--drain-timeout",
        type=_seconds,
        metavar="SECONDS",
        help="give back what still runs so long after the first signal (default: it may finish)",
    )
    parser.add_argument(
        "--hanging-limit",
        type=_positive,
        metavar="N",
        default=HANGING_LIMIT,
        help="leave when so many handlers have not ended after their timeout (default: %(default)s)",
    )
    parser.add_argument("--reload", action="store_true", help="start anew when Python files below here change")
    parser.add_argument("--log-format", choices=logs.FORMATS, default=logs.TEXT, help="(default: %(default)s)")


def work(arguments: argparse.Namespace) -> None:
    """Serve the handlers of the modules until drained.

    Raises UnusableModule, ImportError or ValueError before it connects, SystemExit as `Worker.run` does.
    """
    if not arguments.token:
        raise ValueError(f"An API key is needed: set {TOKEN_VARIABLE} or give --token.")
    line = ProgressLine(sys.stderr)
    logs.configure(arguments.log_format, line.make_room)
    sources = reload.Sources(Path.cwd()) if arguments.reload else None
    worker = _loaded_or_waited_for(arguments.modules, sources)
    beside: list[Any] = []
    if arguments.log_format == logs.TEXT:
        print(banner(worker, arguments.name, arguments.url), file=sys.stderr)
        if sys.stderr.isatty():
            beside.append(line.follow(worker))
    else:
        names = ", ".join(dict.fromkeys(each.name for each in worker.subscriptions))
        log.info("Worker %s for %s at %s", arguments.name or "(no name)", names, arguments.url)
    restart = reload.Restart(worker.drain)
    if sources is not None:
        beside.append(sources.watch(restart.ask))
    program.run(
        worker,
        arguments.url,
        arguments.token,
        beside=beside,
        and_then=restart.make,
        name=arguments.name,
        concurrency=arguments.concurrency,
        max_outstanding=arguments.max_outstanding,
        once=arguments.once,
        drain_timeout=arguments.drain_timeout,
        hanging_limit=arguments.hanging_limit,
    )


def load_workers(references: Iterable[str]) -> Worker:
    """One worker with the handlers of every `module` or `module:name`."""
    together = Worker()
    for reference in references:
        module_name, _, attribute = reference.partition(":")
        found = getattr(importlib.import_module(module_name), attribute or DEFAULT_ATTRIBUTE, None)
        if not isinstance(found, Worker):
            raise UnusableModule(f"{module_name} has no Worker named {attribute or DEFAULT_ATTRIBUTE}.")
        together.include(found)
    return together


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m queueapp.sdk",
        description="Run a worker.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_arguments(parser)
    try:
        work(parser.parse_args())
    except (UnusableModule, ImportError, ValueError) as problem:
        parser.error(str(problem))


def _loaded_or_waited_for(references: Iterable[str], sources: reload.Sources | None) -> Worker:
    """With sources to watch, a mistake in them is shown, and mended by the next change."""
    try:
        return load_workers(references)
    except Exception:
        if sources is None:
            raise
        traceback.print_exc()
        sources.wait()
        reload.start_anew()
        raise


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("a whole number from 1")
    return number


def _seconds(text: str) -> float:
    number = float(text)
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError("seconds, from 0")
    return number
