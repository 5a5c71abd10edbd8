"""Producers that send a submission more than once, to several server processes, some of which die."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from processes import PATIENCE_SECONDS, Server, cluster

pytestmark = pytest.mark.only_on("postgresql", reason="the embedded set-up is one process")

PRODUCERS = 50


@pytest.fixture(scope="module")
def three(prepared: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Server]]:
    """Each test has a name of task of its own."""
    with cluster(prepared, tmp_path_factory.mktemp("three"), 3) as servers:
        yield servers


async def submit_until_answered(servers: list[Server], first: int, body: Any, key: str = "") -> httpx.Response:
    """As a client that has an address of each server: while the request is in flight (409) it asks again, and
    after a server that answers no more it asks the next."""
    headers = {"Idempotency-Key": key} if key else {}
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            async with servers[first % len(servers)].api("producer") as api:
                try:
                    answer = await api.post("/tasks", json=body, headers=headers)
                except httpx.TransportError:
                    first += 1
                else:
                    if answer.status_code not in (409, 503):
                        return answer
            await asyncio.sleep(0.05)


async def submit_all_at_once(servers: list[Server], body: Any, key: str = "") -> list[httpx.Response]:
    everybody = (submit_until_answered(servers, number, body, key) for number in range(PRODUCERS))
    return list(await asyncio.gather(*everybody))


class TestFiftySubmissionsAtOnce:
    @pytest.mark.parametrize(
        ("name", "body"), [("one", {"name": "one", "data": 7}), ("array", [{"name": "array"}] * 200)]
    )
    async def test_with_one_idempotency_key_are_one_submission_and_fifty_equal_answers(self, three, name, body):
        answers = await submit_all_at_once(three, body, key=f"order-{name}")
        assert {answer.status_code for answer in answers} == {201}
        (content,) = {answer.content for answer in answers}
        submitted = answers[0].json()
        ids = submitted["ids"] if isinstance(body, list) else [submitted["id"]]
        assert sorted(task["id"] for task in await three[0].tasks(name=name)) == sorted(ids)
        # A day later's client, to any of them.
        again = await submit_until_answered(three, 1, body, f"order-{name}")
        assert (again.status_code, again.content) == (201, content)

    async def test_with_one_unique_key_are_one_task(self, three):
        answers = await submit_all_at_once(three, {"name": "unique", "unique_key": "order-4711"})
        assert Counter(answer.status_code for answer in answers) == {201: 1, 200: PRODUCERS - 1}
        (task_id,) = {answer.json()["id"] for answer in answers}
        assert [task["id"] for task in await three[0].tasks(name="unique")] == [task_id]


async def test_a_server_that_is_killed_meanwhile_neither_loses_nor_doubles_what_has_a_key(three):
    """Each of thirty submissions is sent by two clients, which begin at different servers; one dies under them."""
    both = [
        asyncio.create_task(submit_until_answered(three, number + turn, [{"name": "t"}] * 100, f"order-{number}"))
        for number in range(30)
        for turn in range(2)
    ]
    await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    await asyncio.to_thread(three[0].kill)
    answers = [await each for each in both]
    assert {answer.status_code for answer in answers} == {201}
    assert [answer.content for answer in answers[::2]] == [answer.content for answer in answers[1::2]]
    ids = [task_id for answer in answers[::2] for task_id in answer.json()["ids"]]
    assert sorted(task["id"] for task in await three[1].tasks(name="t")) == sorted(ids)
    await asyncio.to_thread(three[0].start)
