"""The command line of a worker, shared by `python -m queueapp.sdk` and `manage.py work`."""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import sys
from collections.abc import Iterable

from queueapp.sdk.program import EXIT_AFTER_SIGNAL
from queueapp.sdk.worker import Worker

TOKEN_VARIABLE = "WORKQUEUE_TOKEN"
DEFAULT_ATTRIBUTE = "worker"
DEFAULT_URL = "ws://127.0.0.1:8000"


class UnusableModule(Exception):
    """A module named on the command line has no worker under the given name."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
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


def work(arguments: argparse.Namespace) -> None:
    """Serve the handlers of the modules until drained.

    Raises UnusableModule, ImportError or ValueError before it connects, SystemExit as `Worker.run` does.
    """
    if not arguments.token:
        raise ValueError(f"An API key is needed: set {TOKEN_VARIABLE} or give --token.")
    worker = load_workers(arguments.modules)
    names = ", ".join(dict.fromkeys(each.name for each in worker.subscriptions))
    print(f"Worker {arguments.name or '(no name)'} for {names} at {arguments.url}", file=sys.stderr)
    try:
        worker.run(
            arguments.url,
            arguments.token,
            name=arguments.name,
            concurrency=arguments.concurrency,
            max_outstanding=arguments.max_outstanding,
        )
    except SystemExit as ended:
        if isinstance(ended.code, int) and ended.code > EXIT_AFTER_SIGNAL:
            # Not by the interpreter's own end: it aborts when a handler's thread holds the lock of stdout.
            sys.stderr.flush()
            os._exit(ended.code)
        raise


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
    """Exit status 0: drained; 1: refused by the server; 2: unusable arguments; 128 + n: second signal."""
    parser = argparse.ArgumentParser(prog="python -m queueapp.sdk", description="Run a worker.")
    add_arguments(parser)
    arguments = parser.parse_args()
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr
    )
    logging.getLogger("websockets").setLevel(logging.WARNING)
    try:
        work(arguments)
    except (UnusableModule, ImportError, ValueError) as problem:
        parser.error(str(problem))


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("a whole number from 1")
    return number
