"""Snapshots for a page that shows queues: what waits, and who paused them."""

from __future__ import annotations

import pytest
from admin_rows import HOSTILE, Stage
from channels.db import database_sync_to_async as in_thread
from operator_sockets import rows_of, snapshot, told, viewer, watching

from queueapp import queues

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("nothing_is_remembered", "connections_are_given_back"),
]


class TestOfQueues:
    async def test_tell_what_waits_and_who_paused_them(self, stage: Stage) -> None:
        await in_thread(stage.tasks)(3)
        for watch in (rows_of("queues", "tag", newer="1"), "watch=queue/tag"):
            async with watching(await viewer("view", "add" if "queues" in watch else "delete"), watch) as watcher:
                found = await snapshot(watcher)
                queue = found["rows"]["tag"] if "rows" in found else found
                assert (queue["waiting"], queue["assigned"], queue["workers"], queue["pause"]) == ("3", 0, 0, "")
                assert queue["health"] == "no worker"
        await in_thread(queues.pause)(["tag"], "ada", HOSTILE, stage.now)
        found = await told(await viewer("view", "change"), "watch=queue/tag")
        assert (found["health"], found["paused"]) == ("paused", True)
        assert found["pause"].endswith(f"Z by ada: {HOSTILE}")

    async def test_count_those_that_have_come(self, stage: Stage) -> None:
        await in_thread(stage.task)("b")
        client = await viewer()
        assert (await told(client, rows_of("queues", "b", newer="1")))["newer"] == 0
        for name in ("a", "c"):
            await in_thread(stage.task)(name)
        assert (await told(client, rows_of("queues", "b", newer="1")))["newer"] == 2
        assert (await told(client, rows_of("queues", "b")))["newer"] is None

    async def test_do_not_take_the_next_page_for_something_new(self, stage: Stage) -> None:
        names = [f"q{number:02}" for number in range(60)]
        for name in names:
            await in_thread(stage.task)(name)
        client = await viewer()
        assert (await told(client, rows_of("queues", *names[:50], newer="1")))["newer"] == 0
        assert (await told(client, rows_of("queues", *names[1:51], newer="1")))["newer"] == 1
