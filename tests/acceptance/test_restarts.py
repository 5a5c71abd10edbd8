"""Server and workers end at random moments, in order or not, and start again, as often as RESTARTS says.

`make restarts` does so a thousand times. RESTARTS_SEED repeats an earlier run.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from processes import PATIENCE_SECONDS, Server, started_copy

from tests.chaos.audit import UNCOUNTED, Journals
from tests.chaos.site import SPECIALISTS, WorkerProcess
from tests.chaos.worker_program import digest

RESTARTS = int(os.environ.get("RESTARTS", "20"))
TASKS_A_RESTART = 12
LONGEST_PAUSE_SECONDS = 0.15
WORKERS = 2
MOST_ATTEMPTS = 100


@pytest.fixture
def server(prepared: Server, tmp_path: Path) -> Iterator[Server]:
    with started_copy(prepared, tmp_path, WORKQUEUE_DRAIN_GRACE_SECONDS="2") as server:
        yield server


@pytest.fixture
def workers(server: Server, tmp_path: Path) -> Iterator[list[WorkerProcess]]:
    started = [WorkerProcess(tmp_path, SPECIALISTS + number, server) for number in range(WORKERS)]
    try:
        for worker in started:
            worker.start()
        yield started
    finally:
        for worker in started:
            worker.close()


async def test_every_task_succeeds_once_and_every_run_of_a_handler_is_an_attempt(
    server: Server, workers: list[WorkerProcess], capsys: pytest.CaptureFixture[str]
):
    seed = os.environ.get("RESTARTS_SEED") or str(random.SystemRandom().randrange(10**6))
    dice = random.Random(seed)
    with capsys.disabled():
        print(f"\n  RESTARTS_SEED={seed}")
    submitted: dict[str, Any] = {}
    restarts: Counter[str] = Counter()
    for number in range(RESTARTS):
        data = [{"n": number * TASKS_A_RESTART + each} for each in range(TASKS_A_RESTART)]
        tasks = [{"name": "chaos", "data": each, "max_attempts": MOST_ATTEMPTS} for each in data]
        submitted |= zip(await server.submit(*tasks), data, strict=True)
        await asyncio.sleep(dice.random() * LONGEST_PAUSE_SECONDS)
        restarts[await restart(dice, server, workers)] += 1
    tasks = {task_id: await ended(server, task_id) for task_id in submitted}
    attempts = {task_id: await attempts_of(server, task_id) for task_id in submitted}
    journals = Journals(worker.journal for worker in workers)
    wrongs = [
        *(wrong for task_id, task in tasks.items() for wrong in wrong_ends(task, submitted[task_id], journals)),
        *wrong_runs(tasks, attempts, journals),
    ]
    outcomes = Counter(outcome for each in attempts.values() for outcome in each.values())
    with capsys.disabled():
        print(
            f"  {len(tasks)} tasks, {len(journals.started)} runs of handlers; {dict(restarts)}; {dict(outcomes)}"
        )
    assert wrongs == []


async def restart(dice: random.Random, server: Server, workers: list[WorkerProcess]) -> str:
    """One of them, in one of the ways."""
    if dice.random() < 0.5:
        end, how = dice.choice([(server.kill, "server killed"), (server.terminate, "server stopped")])
        await asyncio.to_thread(end)
        await asyncio.to_thread(server.start)
        return how
    worker = dice.choice(workers)
    number = dice.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
    worker.signal(number)
    if dice.random() < 0.3:
        worker.signal(number)
    assert worker.process is not None
    await asyncio.to_thread(worker.process.wait, PATIENCE_SECONDS)
    worker.start()
    return f"worker {number.name}"


async def ended(server: Server, task_id: str) -> dict[str, Any]:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while (task := await server.task(task_id, wait=30))["state"] in ("pending", "assigned"):
            pass
    return task


async def attempts_of(server: Server, task_id: str) -> dict[int, str]:
    async with server.api("producer") as api:
        page = (await api.get(f"/tasks/{task_id}/attempts")).json()
    assert not page["next"]
    return {each["number"]: each["outcome"] for each in page["results"]}


def wrong_ends(task: dict[str, Any], data: Any, journals: Journals) -> Iterator[str]:
    if task["state"] != "succeeded":
        yield f"{task['id']} is {task['state']}: {task['reason']} {task['error']}"
        return
    result = task["result"]
    if (result["task"], result["attempt"], result["digest"]) != (task["id"], task["attempt"], digest(data)):
        yield f"{task['id']} with attempt {task['attempt']} has the result {result}"
    if (by := journals.ended[task["id"], task["attempt"]]) != [result["worker"]]:
        yield f"{task['id']} has a result of {result['worker']}, and {by} came to one"


def wrong_runs(
    tasks: dict[str, dict[str, Any]], attempts: dict[str, dict[int, str]], journals: Journals
) -> Iterator[str]:
    for (task_id, number), by in journals.started.items():
        if len(by) > 1:
            yield f"attempt {number} of {task_id} was run by {by}"
        is_plain_first = not attempts[task_id] and number == 1 == tasks[task_id]["attempt"]
        if number not in attempts[task_id] and not is_plain_first:
            yield f"attempt {number} of {task_id} was run by {by}, and its attempts are {attempts[task_id]}"
    for task_id, task in tasks.items():
        outcomes = attempts[task_id]
        if sorted(outcomes) != (list(range(1, task["attempt"] + 1)) if outcomes else []):
            yield f"{task_id} with attempt {task['attempt']} has the attempts {outcomes}"
        if [number for number, outcome in outcomes.items() if outcome == "done"] != [task["attempt"]] * bool(
            outcomes
        ):
            yield f"{task_id} with attempt {task['attempt']} was done otherwise: {outcomes}"
        if sum(outcome not in UNCOUNTED for outcome in outcomes.values()) > MOST_ATTEMPTS:
            yield f"{task_id} has used up more than it had: {outcomes}"
