"""The operators' WebSocket: whom it lets in, what it sends, and that it hears nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from datetime import timedelta

import pytest
from admin_rows import Stage
from channels.db import database_sync_to_async
from django.contrib.auth import get_user_model
from django.contrib.sessions.models import Session
from django.test import Client
from django.utils import timezone
from operator_sockets import PATIENCE_SECONDS, closed_with, is_let_in, snapshot, socket, until, viewer, watching

from queueapp import live, operators
from queueapp.models import Task
from tests.pool import until_threads_gave_theirs_back

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("nothing_is_remembered", "connections_are_given_back"),
]


def _log_out(client: Client) -> None:
    client.logout()


def _expire(client: Client) -> None:
    Session.objects.update(expire_date=timezone.now() - timedelta(seconds=1))


def _change_password(client: Client) -> None:
    user = get_user_model().objects.get()
    user.set_password("another")
    user.save()


class TestAccess:
    async def test_staff_that_may_view_is_let_in(self) -> None:
        assert await is_let_in(await viewer())

    @pytest.mark.parametrize("left_out", ["task", "queue", "workersession"])
    async def test_staff_that_may_not_view_everything_shown_is_not(self, left_out: str) -> None:
        some = tuple(model for model in ("task", "queue", "workersession") if model != left_out)
        assert not await is_let_in(await viewer(models=some))

    async def test_nobody_without_a_session_is(self) -> None:
        assert not await is_let_in(None)

    async def test_users_of_no_staff_are_not(self) -> None:
        client = Client()
        user = await database_sync_to_async(get_user_model().objects.create_user)("eve", is_superuser=True)
        await database_sync_to_async(client.force_login)(user)
        assert not await is_let_in(client)

    @pytest.mark.parametrize("origin", ["http://evil.example", "null", None])
    async def test_pages_of_other_sites_are_not_whoever_is_logged_in(self, origin: str | None) -> None:
        assert not await is_let_in(await viewer(), origin=origin)

    async def test_who_may_not_view_any_more_is_shown_out(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(operators, "ASKED_AGAIN_SECONDS", 0.0)
        client = await viewer()
        async with watching(client) as watcher:
            await snapshot(watcher)
            await database_sync_to_async(get_user_model().objects.update)(is_active=False)
            assert await closed_with(watcher) == operators.FORBIDDEN

    @pytest.mark.parametrize("end", [_log_out, _expire, _change_password], ids=lambda end: end.__name__)
    async def test_whose_login_is_over_is_shown_out(
        self, end: Callable[[Client], None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(operators, "ASKED_AGAIN_SECONDS", 0.0)
        client = await viewer()
        async with watching(client) as watcher:
            await snapshot(watcher)
            await database_sync_to_async(end)(client)
            assert await closed_with(watcher) == operators.FORBIDDEN

    async def test_who_is_logged_in_stays_however_often_it_is_asked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(operators, "ASKED_AGAIN_SECONDS", 0.0)
        async with watching(await viewer()) as watcher:
            for _ in range(3):
                await snapshot(watcher)


class TestSnapshots:
    async def test_follow_the_rows(self, stage: Stage) -> None:
        async with watching(await viewer()) as watcher:
            assert (await snapshot(watcher))["now"]["waiting"] == 0
            await database_sync_to_async(stage.tasks)(3)
            await until(watcher, lambda now: now["now"]["waiting"] == 3)

    async def test_are_made_once_for_ten_viewers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        made = []
        read = live.read
        monkeypatch.setattr(live, "read", lambda subject: made.append(subject) or read(subject))
        client = await viewer()
        sockets = [socket(client) for _ in range(10)]
        for each in sockets:
            assert (await each.connect(PATIENCE_SECONDS))[0]
        texts = [[await each.receive_from(PATIENCE_SECONDS) for each in sockets] for _ in range(2)]
        for each in sockets:
            await each.disconnect()
        # Who came when the first was made has that one or the next; no viewer has one of its own.
        assert len(made) <= 4
        assert all(len(set(same)) <= 2 for same in texts)

    async def test_are_not_made_when_nobody_looks(self) -> None:
        client = await viewer()
        async with watching(client) as watcher:
            await snapshot(watcher)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.wait_for(asyncio.gather(*others, return_exceptions=True), PATIENCE_SECONDS)
        assert live._feeds == {}


class TestThePool:
    @pytest.mark.only_on("postgresql", reason="there is a pool")
    async def test_has_every_connection_back_between_two_snapshots(self) -> None:
        """Each thread that keeps one would be a connection less for ever."""
        client = await viewer()
        async with watching(client) as watcher:
            for _ in range(3):
                await snapshot(watcher)
                await asyncio.to_thread(until_threads_gave_theirs_back)


class TestAViewer:
    async def test_changes_nothing_whatever_it_sends(self, stage: Stage) -> None:
        task_id = await database_sync_to_async(stage.task)()
        async with watching(await viewer("view", "change")) as watcher:
            await snapshot(watcher)
            for frame in (
                json.dumps({"kind": "cancel", "task_id": str(task_id)}),
                json.dumps({"task_id": str(task_id), "result": "done"}),
                "[]",
                "x" * 100_000,
            ):
                await watcher.send_to(text_data=frame)
            await watcher.send_to(bytes_data=b"\xff")
            assert (await snapshot(watcher))["now"]["waiting"] == 1
        task = await database_sync_to_async(Task.objects.get)(pk=task_id)
        assert (task.state, task.attempt) == ("pending", 0)
