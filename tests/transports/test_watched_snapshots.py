"""The snapshots of what a page watches: when one is made, for whom, and what comes where none can be."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from admin_rows import Stage
from channels.db import database_sync_to_async as in_thread
from django.db import OperationalError
from operator_sockets import PATIENCE_SECONDS, closed_with, rows_of, snapshot, socket, told, viewer, watching

from queueapp import lifecycle, live, operators, snapshots

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("nothing_is_remembered", "connections_are_given_back"),
]


class TestSnapshots:
    async def test_are_sent_only_when_they_differ(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        made: list[Any] = []
        make = snapshots.make
        monkeypatch.setattr(snapshots, "make", lambda subject: made.append(subject) or make(subject))
        monkeypatch.setattr(live, "SNAPSHOT_SECONDS", 0.01)
        monkeypatch.setattr(live, "FRESH_SECONDS", 0.0)
        task_id = await in_thread(stage.task)()
        async with watching(await viewer(), f"watch=task/{task_id}") as watcher:
            assert (await snapshot(watcher))["state"] == "pending"
            async with asyncio.timeout(PATIENCE_SECONDS):
                while len(made) < 10:
                    assert await watcher.receive_nothing(0.05)
            await in_thread(lifecycle.cancel)([task_id], stage.now)
            assert (await snapshot(watcher))["state"] == "cancelled"

    async def test_that_are_as_before_are_a_sign_of_life_from_time_to_time(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(operators, "SIGN_SECONDS", 0.0)
        async with watching(await viewer(), f"watch=task/{await in_thread(stage.task)()}") as watcher:
            await snapshot(watcher)
            assert await watcher.receive_from(PATIENCE_SECONDS) == ""

    async def test_are_made_once_for_all_who_watch_the_same(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        made: list[Any] = []
        make = snapshots.make
        monkeypatch.setattr(snapshots, "make", lambda subject: made.append(subject) or make(subject))
        watches = [rows_of("tasks", *await in_thread(stage.tasks)(2)), "watch=queues&newer=1"]
        client = await viewer()
        sockets = [socket(client, watch) for watch in watches * 5]
        for each in sockets:
            assert (await each.connect(PATIENCE_SECONDS))[0]
        for each in sockets:
            await snapshot(each)
        polled = [await in_thread(client.get)(f"/admin/now?{watch}") for watch in watches]
        assert [answer.status_code for answer in polled] == [200, 200]
        for each in sockets:
            await each.disconnect()
        assert len(set(made)) == 2
        # Who came while the first was made has that one or the next, as has who asks; no viewer has its own.
        assert len(made) <= 3 * len(watches)

    async def test_are_made_once_for_all_who_ask(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(live, "FRESH_SECONDS", 3600.0)
        client, other = await viewer(), await viewer("view", "change")
        watch = rows_of("tasks", *await in_thread(stage.tasks)(2), newer="1")
        first = await in_thread(client.get)(f"/admin/now?{watch}")
        await in_thread(stage.task)()
        second = await in_thread(other.get)(f"/admin/now?{watch}")
        assert first.json() == second.json()
        live.forget()
        assert (await in_thread(client.get)(f"/admin/now?{watch}")).json()["newer"] == 1

    async def test_are_forgotten_when_nobody_watches(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(live, "FORGOTTEN_SECONDS", 0.0)
        client = await viewer()
        for _ in range(3):
            async with watching(client, f"watch=task/{await in_thread(stage.task)()}") as watcher:
                await snapshot(watcher)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.wait_for(asyncio.gather(*others, return_exceptions=True), PATIENCE_SECONDS)
        assert live._feeds == {}
        assert len(live._snapshots) == 1

    async def test_come_again_when_the_database_is_back(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(operators, "AWAY_SECONDS", 0.0)
        make, times = snapshots.make, iter(range(1000))

        def away_twice(subject: Any) -> Any:
            if next(times) < 2:
                raise OperationalError("the database is away")
            return make(subject)

        monkeypatch.setattr(snapshots, "make", away_twice)
        task_id = await in_thread(stage.task)()
        assert (await told(await viewer(), f"watch=task/{task_id}"))["state"] == "pending"
        assert next(times) > 2

    async def test_that_the_database_gives_none_of_end_the_connection(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The page asks then, and hears from another process, or says itself how old it is."""

        def away(subject: Any) -> Any:
            raise OperationalError("the database is away")

        monkeypatch.setattr(operators, "AWAY_SECONDS", 0.0)
        monkeypatch.setattr(snapshots, "make", away)
        async with watching(await viewer(), "watch=queues") as watcher:
            assert await closed_with(watcher) == operators.BROKEN

    async def test_that_cannot_be_made_end_the_connection(
        self, stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A page that hears nothing would believe that nothing changes."""

        def broken(subject: Any) -> Any:
            raise RuntimeError("a bug")

        monkeypatch.setattr(snapshots, "make", broken)
        async with watching(await viewer(), "watch=queues") as watcher:
            assert await closed_with(watcher) == operators.BROKEN
        assert "No snapshot of queues" in caplog.text
