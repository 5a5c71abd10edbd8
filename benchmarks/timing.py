"""The load's part in measuring latency: producer and workers are one process, so that one clock sees both."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import aiohttp
import msgspec

from benchmarks.submissions import submission

if TYPE_CHECKING:
    from benchmarks.load import Load

PROBE_EVERY_SECONDS = 0.2
POLL_SECONDS = 0.01
PATIENCE_SECONDS = 120


async def round_trips(load: Load, tasks: int) -> dict[str, Any]:
    """One task after another by a producer who waits for its result: seconds until a worker had it, and until
    the producer had the result."""
    to_worker: list[float] = []
    to_result: list[float] = []
    sent = 0.0
    load.on_task = lambda _: to_worker.append(time.perf_counter() - sent)
    async with load.session() as session:
        for number in range(tasks):
            sent = time.perf_counter()
            await _probe(load, session, number)
            to_result.append(time.perf_counter() - sent)
    load.on_task = None
    return {"to_worker": to_worker, "to_result": to_result}


async def pace(load: Load, rate: float, seconds: float, bulk: int) -> dict[str, Any]:
    """So many tasks a second in arrays of `bulk`, whether or not the server keeps up, and among them single ones
    whose producers wait. Each task's time begins when it was due, not when there was time to send it."""
    due: list[float] = []
    to_worker: list[float] = []
    to_result: list[float] = []

    def on_task(number: int) -> None:
        to_worker.append(time.perf_counter() - due[number])

    load.on_task = on_task
    started = time.perf_counter()
    sendings: list[asyncio.Task[None]] = []

    async def send_array(numbers: range) -> None:
        await load.post(session, load.url, [submission(number) for number in numbers])

    async def send_probe(number: int) -> None:
        await _probe(load, session, number)
        to_result.append(time.perf_counter() - due[number])

    async with load.session() as session, asyncio.timeout(seconds + PATIENCE_SECONDS):
        next_array = next_probe = started
        while (now := time.perf_counter()) < started + seconds:
            if now >= next_array:
                due += [next_array] * bulk
                sendings.append(asyncio.create_task(send_array(range(len(due) - bulk, len(due)))))
                next_array += bulk / rate
            if now >= next_probe:
                due.append(next_probe)
                sendings.append(asyncio.create_task(send_probe(len(due) - 1)))
                next_probe += PROBE_EVERY_SECONDS
            await asyncio.sleep(min(next_array, next_probe) - time.perf_counter())
        await asyncio.gather(*sendings)
        while len(to_worker) < len(due):  # noqa: ASYNC110 - the last are on their way
            await asyncio.sleep(POLL_SECONDS)
    load.on_task = None
    return {"to_worker": to_worker, "to_result": to_result}


async def _probe(load: Load, session: aiohttp.ClientSession, number: int) -> None:
    """As a producer who waits: it asks for the finished task, and if it gets an unfinished one, asks again."""
    answer = await load.post(session, load.url, submission(number), Prefer="wait=60")
    while answer["state"] in ("pending", "assigned"):
        async with session.get(f"{load.url}/api/v1/tasks/{answer['id']}", params={"wait": "60"}) as read:
            answer = msgspec.json.decode(await read.read())
    if answer["state"] != "succeeded":
        raise RuntimeError(f"The producer waited, and the task is {answer['state']}.")
