"""Who may watch what a page shows, over the operators' WebSocket and by asking."""

from __future__ import annotations

from uuid import uuid4

import pytest
from channels.db import database_sync_to_async as in_thread
from django.contrib.auth import get_user_model
from django.test import Client
from operator_sockets import closed_with, is_let_in, rows_of, snapshot, viewer, watching

from queueapp import operators
from queueapp.subjects import ROWS

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("nothing_is_remembered", "connections_are_given_back"),
]

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
