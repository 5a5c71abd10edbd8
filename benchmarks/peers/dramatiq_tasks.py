"""Dramatiq + Redis with results: the application, and its producer as a program (as `celery_tasks`)."""

from __future__ import annotations

import json
import os
import sys

import dramatiq
import redis
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

from benchmarks.peers.waiting import timed

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
        wanted = results.dbsize() + tasks
        submission, seconds = timed(
            lambda: dramatiq.group(echo.message({"n": number}) for number in range(tasks)).run(),
            lambda: results.dbsize() >= wanted,
        )
    for message in submission.children:
        message.get_result()  # raises what the task raised
    return seconds


if __name__ == "__main__":
    print(json.dumps({"submit": submit}[sys.argv[1]](int(sys.argv[2]))))
