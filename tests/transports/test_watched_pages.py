"""What a page watches over the operators' WebSocket: who may, what is told of it, and when nothing is."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import pytest
from admin_rows import HOSTILE, Stage
from channels.db import database_sync_to_async
from django.contrib.auth import get_user_model
from django.db import OperationalError, close_old_connections
from django.test import Client
from operator_sockets import PATIENCE_SECONDS, closed_with, is_let_in, snapshot, socket, viewer, watching

from queueapp import lifecycle, live, operations, operators, queues, sessions, snapshots
from queueapp.domain.states import Action
from queueapp.models import Attempt, Operation
from queueapp.subjects import ROWS

pytestmark = pytest.mark.django_db(transaction=True)

in_thread = database_sync_to_async
AN_ID = "0197f3a1-0000-7000-8000-000000000001"

PAGES = {
    "": ("task", "queue", "workersession"),
    f"watch=task/{AN_ID}": ("task",),
    "watch=tasks&newer=1": ("task",),
    f"watch=worker/{AN_ID}": ("workersession",),
    "watch=workers&newer=1": ("workersession",),
    "watch=queue/tag": ("queue",),
    "watch=queues&newer=1": ("queue",),
    f"watch=operation/{AN_ID}": ("operation",),
    "watch=operations&newer=1": ("operation",),
    "watch=errors": ("task", "attempt"),
}
"""Each with the models that its page takes the permission to view of."""
MODELS = ("task", "queue", "workersession", "operation", "attempt", "apikey")


@pytest.fixture(autouse=True)
def _nothing_is_remembered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("channels.testing.application.no_op", close_old_connections)
    live.forget()
    yield
    live.forget()


def rows_of(kind: str, *keys: Any, **parameters: str) -> str:
    return urlencode({"watch": kind, "row": [str(key) for key in keys], **parameters}, doseq=True)


async def told(client: Client, watch: str) -> Any:
    """As it is now."""
    live.forget()
    async with watching(client, watch) as watcher:
        return await snapshot(watcher)


async def until(watcher: Any, is_so: Callable[[Any], bool]) -> Any:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not is_so(found := await snapshot(watcher)):
            pass
        return found


class TestAccess:
    @pytest.mark.parametrize("watch", PAGES)
    async def test_takes_the_permissions_of_the_page(self, watch: str) -> None:
        needed = PAGES[watch]
        others = tuple(model for model in MODELS if model not in needed)
        assert await is_let_in(await viewer("view", models=needed), watch)
        await in_thread(get_user_model().objects.all().delete)()
        for left_out in needed:
            models = (*others, *(model for model in needed if model != left_out))
            assert not await is_let_in(await viewer("view", models=models), watch), left_out
            await in_thread(get_user_model().objects.all().delete)()

    @pytest.mark.parametrize("watch", PAGES)
    @pytest.mark.parametrize("origin", ["http://evil.example", None])
    async def test_is_for_our_own_pages(self, watch: str, origin: str | None) -> None:
        assert not await is_let_in(await viewer(), watch, origin)

    @pytest.mark.parametrize(
        "watch",
        [
            "watch=nothing",
            "watch=apikeys",
            "watch=task",
            "watch=tasks/1",
            "watch=overview/",
            "watch=task/1",
            "watch=worker/",
            "watch=queue/",
            f"watch=queue/{'x' * 201}",
            "watch=queue/%00",
            "watch=queue/%ff",
            "watch=workers&row=w7",
            "watch=errors&since=yesterday",
            f"watch=tasks&q={'x' * 2001}",
            rows_of("workers", *(uuid4() for _ in range(ROWS + 1))),
            "&".join(f"a{number}=1" for number in range(1000)),
        ],
    )
    async def test_to_what_there_is_not_is_refused(self, watch: str) -> None:
        client = await viewer()
        assert not await is_let_in(client, watch)
        assert (await in_thread(client.get)(f"/admin/now?{watch}")).status_code == 404

    async def test_that_is_taken_away_ends_with_4403(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(operators, "ASKED_AGAIN_SECONDS", 0.0)
        client = await viewer(models=("task",))
        async with watching(client, "watch=tasks") as watcher:
            await snapshot(watcher)
            user = await in_thread(get_user_model().objects.get)()
            await in_thread(user.user_permissions.clear)()
            assert await closed_with(watcher) == operators.FORBIDDEN

    @pytest.mark.parametrize("watch", PAGES)
    async def test_by_asking_is_the_same(self, watch: str) -> None:
        needed = PAGES[watch]
        others = tuple(model for model in MODELS if model != needed[0])
        address = f"/admin/now?{watch}"
        assert (await in_thread((await viewer("view", models=needed)).get)(address)).status_code == 200
        await in_thread(get_user_model().objects.all().delete)()
        assert (await in_thread((await viewer("view", models=others)).get)(address)).status_code == 403
        assert (await in_thread(Client().get)(address)).status_code == 302


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
        assert await told(await viewer(), f"watch=task/{AN_ID}") is None


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


class TestOfWorkers:
    async def test_tell_what_they_hold_and_who_has_come(self, stage: Stage) -> None:
        worker = await in_thread(stage.worker)()
        async with watching(await viewer(), rows_of("workers", worker, newer="1")) as watcher:
            first = await snapshot(watcher)
            assert first["newer"] == 0
            assert first["rows"][str(worker)] == {
                "state": "online",
                "outstanding": 0,
                "max_outstanding": 10,
                "done": 0,
                "errors": 0,
                "per_minute": 0,
            }
            await in_thread(stage.assign)(worker, *await in_thread(stage.tasks)(2))
            await in_thread(stage.worker)("w8")
            found = await until(watcher, lambda now: now["newer"] == 1)
            assert found["rows"][str(worker)]["outstanding"] == 2
            await in_thread(stage.close)([worker])
            await until(watcher, lambda now: now["rows"][str(worker)]["state"] == "gone")

    async def test_of_one_say_when_it_gave_a_sign_of_life(self, stage: Stage) -> None:
        worker = await in_thread(stage.worker)()
        async with watching(await viewer(), f"watch=worker/{worker}") as watcher:
            first = await snapshot(watcher)
            assert (first["outstanding"], first["stale_results"]) == (0, 0)
            assert first["heartbeat"] >= 0
            await in_thread(stage.assign)(worker, *await in_thread(stage.tasks)(1))
            held = await until(watcher, lambda now: now["outstanding"] == 1)
            assert held["held"] != first["held"]
            await in_thread(sessions.stop_node)(stage.node_id, stage.now)
            await until(watcher, lambda now: now["heartbeat"] is None)

    def test_are_marked_alike_in_every_process(self) -> None:
        """A page that hears from one after another would believe each time that something has changed."""
        rows = f"[({AN_ID!r}, 1, None)]"
        asking = [
            "manage.py",
            "shell",
            "--no-imports",
            "-c",
            f"from queueapp import snapshots; print(snapshots._mark({rows}))",
        ]
        other = subprocess.run(
            [sys.executable, *asking],
            env=os.environ | {"DEBUG": "1"},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        assert other.stdout.strip() == snapshots._mark([(AN_ID, 1, None)])


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


class TestOfOperations:
    async def test_tell_how_far_they_are(self, stage: Stage) -> None:
        def begin() -> Operation:
            return operations.start(
                Action.CANCEL, {"name": "tag"}, tasks_of=None, names=None, asked_by="ada", now=stage.now
            )

        await in_thread(stage.tasks)(4)
        operation = await in_thread(begin)()
        client = await viewer()
        for watch in (f"watch=operation/{operation.pk}", rows_of("operations", operation.pk, newer="1")):
            found = await told(client, watch)
            assert found.get("rows", {str(operation.pk): found})[str(operation.pk)] == {
                "state": "running",
                "total": 4,
                "done": 0,
                "unchanged": 0,
                "is_counted": True,
            }
        async with watching(client, rows_of("operations", operation.pk, newer="1")) as watcher:
            assert await in_thread(operations.carry_on)(operation.pk)
            await in_thread(begin)()
            found = await until(watcher, lambda now: now["newer"] == 1)
        assert found["rows"][str(operation.pk)]["state"] == "done"


class TestOfErrors:
    async def test_count_those_that_have_come_by_their_causes(self, stage: Stage) -> None:
        worker = await in_thread(stage.worker)()
        await in_thread(stage.failed)(worker)
        known = await in_thread(Attempt.objects.get)()
        watch = rows_of("errors", known.error_group, since=known.ended_at.isoformat())
        async with watching(await viewer(), watch) as watcher:
            first = await snapshot(watcher)
            assert (first["newer"], first["causes"]) == (0, 0)
            stage.now += timedelta(seconds=1)
            await in_thread(stage.failed)(worker)
            await in_thread(stage.failed)(worker, error="another cause")
            found = await until(watcher, lambda now: now["newer"] == 2)
        assert found["causes"] == 1
        assert found["rows"] == {str(known.error_group): {"more": 1}}
