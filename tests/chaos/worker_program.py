"""A worker as a program of its own: `python -m tests.chaos.worker_program URL NAME JOURNAL [COLOUR]`.

Before and after each run of its handler it appends a line to its journal: `start` or `end`, task, attempt, time.
A line is one write of a file opened for appending, so it survives the death of the process. The API key comes in
WORKQUEUE_TOKEN; LONGEST_RUN_SECONDS makes the handler take longer, up to that.
"""

from __future__ import annotations

import hashlib
import logging
import os
import random
import sys
import time
from typing import Any

from queueapp.sdk import ReconnectBackoff, Task, Worker

ROUNDS = 3000


def digest(data: Any) -> str:
    """A few milliseconds of real work."""
    return hashlib.pbkdf2_hmac("sha256", str(data).encode(), b"chaos", ROUNDS).hex()


def main() -> None:
    url, name, path, *colours = sys.argv[1:]
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    longest_run_seconds = float(os.environ.get("LONGEST_RUN_SECONDS", "0"))
    journal = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    worker = Worker()

    def note(event: str, task: Task) -> None:
        os.write(journal, f"{event} {task.id} {task.attempt} {time.time():.3f}\n".encode())

    @worker.task("chaos", {"colour": colours} if colours else {})
    def perform(task: Task) -> dict[str, Any]:
        note("start", task)
        time.sleep(random.uniform(0, longest_run_seconds))
        result = {"task": task.id, "attempt": task.attempt, "worker": name, "digest": digest(task.data)}
        note("end", task)
        return result

    worker.run(
        url,
        os.environ["WORKQUEUE_TOKEN"],
        name=name,
        concurrency=2,
        max_outstanding=6,
        backoff=ReconnectBackoff(initial_seconds=0.2, max_seconds=2),
    )


if __name__ == "__main__":
    main()
