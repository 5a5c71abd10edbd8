"""What follows when a process is killed or frozen: who has its tasks then, and what it has cost them.

How soon is measured by `make recovery`; with `--long` the times that decide are those of the default settings.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from processes import HoldingWorker, Server, cluster, eventually, finish, receive, started_copy

SHORT_PINGS = {
    "WORKQUEUE_PING_INTERVAL_SECONDS": "0.2",
    # Short, but heirs must answer in time, however slow the machine is.
    "WORKQUEUE_PING_TIMEOUT_SECONDS": "5",
}


async def outcomes(server: Server, task_id: str) -> list[str]:
    """Of the task's attempts, in their order."""
    async with server.api("producer") as api:
        attempts = (await api.get(f"/tasks/{task_id}/attempts")).json()["results"]
    return [attempt["outcome"] for attempt in attempts]


@pytest.mark.only_on("postgresql", reason="the embedded set-up is one process")
class TestAServerThatIsKilled:
    @pytest.fixture
    def three(self, prepared: Server, tmp_path: Path) -> Iterator[list[Server]]:
        with cluster(prepared, tmp_path, 3) as servers:
            yield servers

    async def test_its_workers_tasks_are_with_others_at_no_cost_and_nobody_elses_are_touched(
        self, three: list[Server]
    ):
        dying, *living = three
        async with (
            dying.worker("?task=t") as orphaned,
            living[0].worker("?task=t") as first,
            living[1].worker("?task=t") as second,
        ):
            await living[0].until_attached(3)
            await living[0].submit(*[{"name": "t", "max_attempts": 1}] * 30)
            orphans = {task["task_id"] for task in await receive(orphaned, 10)}
            kept = [await receive(worker, 10) for worker in (first, second)]
            dying.kill()
            heirs = [await receive(worker, 5) for worker in (first, second)]
            inherited = [task for tasks in heirs for task in tasks]
            assert {task["task_id"] for task in inherited} == orphans
            assert {task["attempt"] for task in inherited} == {2}
            for worker, tasks in zip((first, second), zip(kept, heirs, strict=True), strict=True):
                for task in [task for each in tasks for task in each]:
                    assert task["attempt"] == (2 if task["task_id"] in orphans else 1)
                    await finish(worker, task, "done")
            await eventually(lambda: all_succeeded(living[0], 30))
        for task_id in orphans:
            assert await outcomes(living[0], task_id) == ["released", "done"]

    async def test_it_comes_again_and_serves(self, three: list[Server]):
        dying, living, _ = three
        dying.kill()
        await asyncio.to_thread(dying.start)
        async with dying.worker("?task=t") as worker:
            (task_id,) = await living.submit({"name": "t"})
            (task,) = await receive(worker)
            await finish(worker, task, "again")
            assert (await living.task(task_id, wait=30))["result"] == "again"


class TestAWorkerProcess:
    @pytest.fixture
    def server(self, prepared: Server, tmp_path: Path, long: bool) -> Iterator[Server]:
        with started_copy(prepared, tmp_path, **({} if long else SHORT_PINGS)) as server:
            yield server

    async def test_killed_costs_its_tasks_one_attempt_each(self, server: Server):
        async with HoldingWorker(server, "?task=t&_max_outstanding=10") as dying:
            heir, ids = await self.with_tasks(server, dying)
            async with heir as socket:
                dying.send_signal(signal.SIGKILL)
                await self.inherits(server, socket, ids)

    async def test_frozen_costs_the_same_and_once_thawed_learns_that_it_is_out(self, server: Server):
        async with HoldingWorker(server, "?task=t&_max_outstanding=10") as frozen:
            heir, ids = await self.with_tasks(server, frozen)
            async with heir as socket:
                frozen.send_signal(signal.SIGSTOP)
                try:
                    await self.inherits(server, socket, ids)
                finally:
                    frozen.send_signal(signal.SIGCONT)
                await frozen.ended()
        for task_id in ids:
            assert (await server.task(task_id))["result"] == "inherited"

    async def with_tasks(self, server: Server, worker: HoldingWorker) -> tuple[Any, list[str]]:
        """Ten tasks that the worker holds, and who is to inherit them, about to attach."""
        ids = await server.submit(*[{"name": "t", "max_attempts": 2}] * 10)
        assert {task["task_id"] for task in await worker.receive(10)} == set(ids)
        return server.worker("?task=t"), ids

    async def inherits(self, server: Server, heir: Any, ids: list[str]) -> None:
        tasks = await receive(heir, 10)
        assert {(task["task_id"], task["attempt"]) for task in tasks} == {(task_id, 2) for task_id in ids}
        for task in tasks:
            await finish(heir, task, "inherited")
        await eventually(lambda: all_succeeded(server, 10))
        for task_id in ids:
            assert await outcomes(server, task_id) == ["lost", "done"]


async def all_succeeded(server: Server, count: int) -> bool:
    return (await server.counts("t")).get("succeeded", 0) == count
