"""A process that has imported all that a server and a worker are made of, and forks either in milliseconds.

`python -m tests.acceptance.nursery` reads arrays, one a line: `["server" | "worker", LOG, *ARGUMENTS]`, answered
with the id of the process that has become one, and `["status", ID]`, answered with the exit status of one that has
ended. It ends with its input, and takes along whom it has started.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
from importlib import import_module
from pathlib import Path

from django.core.management import execute_from_command_line

from tests.chaos import worker_program

OF_A_SERVER = ("workqueue_project.asgi", "workqueue_project.urls", "queueapp.management.commands.serve")
"""What it would import when it starts and with its first request."""

OF_WHOM_ENDS = (signal.SIGINT, signal.SIGTERM)


def main() -> None:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "workqueue_project.settings")
    for module in OF_A_SERVER:
        import_module(module)
    # What is never looked at for garbage is not copied for each process that does.
    gc.collect()
    gc.freeze()
    # One that strikes before a process has become somebody would be lost in what Python does after a fork.
    signal.pthread_sigmask(signal.SIG_BLOCK, OF_WHOM_ENDS)
    started: set[int] = set()
    for line in sys.stdin:
        order, *arguments = json.loads(line)
        if order == "status":
            (process,) = arguments
            started.discard(process)
            answer = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        elif answer := os.fork():
            started.add(answer)
        else:
            become(order, *arguments)
            return
        print(answer, flush=True)
    for process in started:
        os.kill(process, signal.SIGKILL)


def become(kind: str, log: str, *arguments: str) -> None:
    for number in OF_WHOM_ENDS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, OF_WHOM_ENDS)
    with Path(log).open("ab") as output, Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), sys.stdin.fileno())
        os.dup2(output.fileno(), sys.stdout.fileno())
        os.dup2(output.fileno(), sys.stderr.fileno())
    match kind:
        case "server":
            execute_from_command_line(["manage.py", "serve", *arguments])
        case "worker":
            sys.argv[1:] = arguments
            worker_program.main()


if __name__ == "__main__":
    main()
