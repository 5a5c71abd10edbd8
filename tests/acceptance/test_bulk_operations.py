"""Operations over many tasks, carried out by real server processes."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from processes import Server, cluster, eventually, finish, receive

from tests.acceptance.locks import held, until_waited_for

TASKS = 5000


async def begin(server: Server, action: str, **filters: Any) -> dict[str, Any]:
    async with server.api("producer") as api:
        answer = await api.post(f"/tasks/{action}", json=filters)
    assert answer.status_code == 202, answer.text
    return answer.json()


async def read(server: Server, operation: dict[str, Any]) -> dict[str, Any]:
    async with server.api("producer") as api:
        return (await api.get(f"/operations/{operation['id']}")).json()


async def until(server: Server, operation: dict[str, Any], **values: Any) -> dict[str, Any]:
    """The operation, once it reads so."""

    async def as_wanted() -> dict[str, Any] | None:
        document = await read(server, operation)
        return document if values.items() <= document.items() else None

    return await eventually(as_wanted)


async def test_all_that_match_are_cancelled_and_then_retried_however_many(server: Server):
    ids = await server.submit(*[{"name": "t", "attrs": {"n": str(number % 2)}} for number in range(TASKS)])
    ended = await until(server, await begin(server, "cancel", **{"attr.n": "1"}), state="done")
    assert (ended["total"], ended["done"], ended["unchanged"]) == (TASKS // 2, TASKS // 2, 0)
    states = {task["id"]: task["state"] for task in await server.tasks(name="t")}
    assert [states[task_id] for task_id in ids] == ["pending", "cancelled"] * (TASKS // 2)
    ended = await until(server, await begin(server, "retry", name="t"), state="done")
    assert ended["done"] == TASKS // 2
    assert (await server.counts("t"))["pending"] == TASKS


@pytest.mark.only_on("postgresql", reason="the embedded set-up is one process")
async def test_an_operation_goes_on_in_another_process_when_the_one_that_ran_it_is_killed(
    prepared: Server, tmp_path: Path
):
    """It is killed in the middle of a step, while it waits for a task that somebody holds."""
    with cluster(prepared, tmp_path, 2) as (dying, heir):
        await asyncio.to_thread(heir.terminate)
        ids = sorted(await dying.submit(*[{"name": "t"}] * TASKS))
        with held(dying, ids[TASKS // 2 + 100]) as holder:
            operation = await begin(dying, "cancel", name="t")
            await until_waited_for(holder)
            # How far it came depends on the size of its steps, and this on how quick they are.
            begun = await read(dying, operation)
            assert (begun["state"], begun["total"]) == ("running", TASKS)
            assert 0 < begun["done"] <= TASKS // 2 + 100
            # The operation stands still; assignments do not.
            async with dying.worker("?task=u") as worker:
                (other,) = await dying.submit({"name": "u"})
                (task,) = await receive(worker)
                await finish(worker, task)
                assert (await dying.task(other, wait=30))["state"] == "succeeded"
            dying.kill()
        await asyncio.to_thread(heir.start)
        ended = await until(heir, operation, state="done")
        assert (ended["total"], ended["done"], ended["unchanged"]) == (TASKS, TASKS, 0)
        assert Counter(task["state"] for task in await heir.tasks(name="t")) == {"cancelled": TASKS}


@pytest.mark.only_on("postgresql", reason="the embedded set-up is one process")
async def test_any_process_stops_it_and_no_task_is_changed_after_the_answer(prepared: Server, tmp_path: Path):
    with cluster(prepared, tmp_path, 2) as (first, second):
        ids = sorted(await first.submit(*[{"name": "t"}] * TASKS))
        with held(first, ids[TASKS // 2 + 100]) as holder:
            operation = await begin(first, "cancel", name="t")
            await until_waited_for(holder)
            async with second.api("operator") as api:
                stopping = asyncio.create_task(api.post(f"/operations/{operation['id']}/stop"))
                stopped = (await asyncio.wait_for(stopping, 60)).json()
        assert stopped["state"] == "stopped"
        states = Counter(task["state"] for task in await second.tasks(name="t"))
        assert states == {"cancelled": stopped["done"], "pending": TASKS - stopped["done"]}
        assert await read(first, operation) == stopped
