"""Snapshots for a page that shows tasks: what becomes of them, and how many are newer."""

from __future__ import annotations

from uuid import uuid4

import pytest
from admin_rows import HOSTILE, Stage
from channels.db import database_sync_to_async as in_thread
from operator_sockets import rows_of, snapshot, told, until, viewer, watching

from queueapp import lifecycle

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("nothing_is_remembered", "connections_are_given_back"),
]


class TestOfATask:
    async def test_follow_its_state_and_progress(self, stage: Stage) -> None:
        task_id = await in_thread(stage.task)()
        async with watching(await viewer(), f"watch=task/{task_id}") as watcher:
            first = await snapshot(watcher)
            assert first == {"state": "pending", "attempt": 0, "progress": None, "progress_message": ""}
            worker = await in_thread(stage.worker)()
            await in_thread(stage.assign)(worker, task_id)
            await in_thread(lifecycle.prolong)(
                [lifecycle.SignOfLife(worker, task_id, None, 0.25, HOSTILE)], stage.now
            )
            found = await until(watcher, lambda now: now["progress"] == 0.25)
            assert found == {"state": "assigned", "attempt": 1, "progress": 0.25, "progress_message": HOSTILE}

    async def test_of_one_that_is_not_there_say_nothing(self) -> None:
        assert await told(await viewer(), f"watch=task/{uuid4()}") is None


class TestOfAListOfTasks:
    async def test_tell_what_has_become_of_those_shown_and_how_many_are_newer(self, stage: Stage) -> None:
        shown = await in_thread(stage.tasks)(3)
        gone = uuid4()
        watch = rows_of("tasks", *shown, gone, newer="1")
        async with watching(await viewer(), watch) as watcher:
            first = await snapshot(watcher)
            assert (first["newer"], first["rows"][str(gone)]) == (0, None)
            await in_thread(lifecycle.cancel)(shown[:1], stage.now)
            await in_thread(stage.tasks)(2)
            found = await until(watcher, lambda now: now["newer"] == 2)
        assert found["rows"][str(shown[0])] == {"state": "cancelled", "attempt": 0}
        assert found["rows"][str(shown[1])] == {"state": "pending", "attempt": 0}

    async def test_count_only_what_the_filter_finds(self, stage: Stage) -> None:
        client = await viewer()
        await in_thread(stage.task)(cloud="aws")
        await in_thread(stage.task)(cloud="gcp")
        await in_thread(stage.failed)(await in_thread(stage.worker)())
        for text, newer in (
            ("", 3),
            ("attr.cloud:aws", 1),
            ("state:pending", 2),
            ("state:failed error:~broke", 1),
            ("name:other", 0),
            ("no such:filter:", None),
        ):
            assert (await told(client, rows_of("tasks", newer="1", q=text)))["newer"] == newer, text

    async def test_count_nothing_where_the_page_is_not_the_beginning(self, stage: Stage) -> None:
        await in_thread(stage.task)()
        assert await told(await viewer(), rows_of("tasks")) == {"rows": {}, "newer": None}

    async def test_do_not_take_the_next_page_for_something_new(self, stage: Stage) -> None:
        ids = sorted(await in_thread(stage.tasks)(60))
        assert (await told(await viewer(), rows_of("tasks", *ids[10:], newer="1")))["newer"] == 0
        assert (await told(await viewer("view", "add"), rows_of("tasks", *ids[:50], newer="1")))["newer"] == 10

    async def test_count_to_a_hundred(self, stage: Stage) -> None:
        await in_thread(stage.tasks)(110)
        found = await told(await viewer(), rows_of("tasks", newer="1"))
        assert (found["newer"], found["newer_is_exact"]) == (100, False)
