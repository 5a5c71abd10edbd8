"""Celery + Redis, late acknowledgements, results kept: the application, and its producer as a program.

`python -m benchmarks.peers.celery_tasks submit N` and `… delay N` print what they measured as JSON. The broker is
database 0 of the Redis in BENCH_REDIS, results are in database 1, so that its size is the number of results.
"""

from __future__ import annotations

import json
import os
import sys
import time

import redis
from celery import Celery, group

from benchmarks.peers.waiting import timed

SOCKET = os.environ["BENCH_REDIS"]

app = Celery(
    "bench",
    broker=f"redis+socket://{SOCKET}?virtual_host=0",
    backend=f"redis+socket://{SOCKET}?virtual_host=1",
)
app.conf.update(
    task_acks_late=True,
    worker_prefetch_multiplier=4,  # its default; 1 is as quick for tasks this small, 16 and 64 are slower
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
)


@app.task(name="echo")  # this module is `__main__` in the producer, and something else in the worker
def echo(data: dict[str, int]) -> dict[str, int]:
    return data


def submit(tasks: int) -> dict[str, object]:
    """As its users submit in bulk: a group, published over one connection."""
    with redis.Redis(unix_socket_path=SOCKET, db=1) as results:
        wanted = results.dbsize() + tasks
        submission, seconds = timed(
            lambda: group(echo.s({"n": number}) for number in range(tasks)).apply_async(),
            lambda: results.dbsize() >= wanted,
        )
    if not all(result.successful() for result in submission.results):
        raise RuntimeError("Not all tasks succeeded.")
    return seconds


def delay(tasks: int) -> dict[str, object]:
    """The round trip of one task after another, to the result in the producer's hands."""
    seconds = []
    for number in range(tasks):
        started = time.perf_counter()
        echo.delay({"n": number}).get(timeout=60)
        seconds.append(time.perf_counter() - started)
    return {"round_trips": seconds}


if __name__ == "__main__":
    print(json.dumps({"submit": submit, "delay": delay}[sys.argv[1]](int(sys.argv[2]))))
