"""Dramatiq + Redis with results: the application, and its producer as a program (as `celery_tasks`)."""

from __future__ import annotations

import json
import os
import sys
import time

import dramatiq
import redis
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

from benchmarks.peers.waiting import until

SOCKET = os.environ["BENCH_REDIS"]

broker = RedisBroker(url=f"unix://{SOCKET}?db=0")
broker.add_middleware(Results(backend=RedisBackend(url=f"unix://{SOCKET}?db=1")))
dramatiq.set_broker(broker)


@dramatiq.actor(store_results=True)
def echo(data: dict[str, int]) -> dict[str, int]:
    return data


def submit(tasks: int) -> dict[str, object]:
    """As its users submit in bulk: a group."""
    with redis.Redis(unix_socket_path=SOCKET, db=1) as results:
        before = results.dbsize()
        started = time.perf_counter()
        submission = dramatiq.group(echo.message({"n": number}) for number in range(tasks)).run()
        submitted = time.perf_counter()
        until(lambda: results.dbsize() >= before + tasks)
        ended = time.perf_counter()
    for message in submission.children:
        message.get_result()  # raises what the task raised
    return {"seconds": ended - started, "submit_seconds": submitted - started}


if __name__ == "__main__":
    print(json.dumps({"submit": submit}[sys.argv[1]](int(sys.argv[2]))))
