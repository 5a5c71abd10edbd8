"""GET /tasks/{id}?wait=: answered when the task has ended, and at nobody's cost until then."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable
from dataclasses import replace
from functools import partial
from time import monotonic
from typing import Any
from unittest.mock import Mock
from uuid import UUID

import pytest
from django.conf import settings as project_settings
from django.db import OperationalError
from django.test import AsyncClient, Client
from django.utils import timezone
from waiting_requests import LONG, cancel, cancel_all, unheard, until_waiting

from queueapp import doorbell, lifecycle
from queueapp.api import fetching
from queueapp.api.base import off_loop
from queueapp.auth import create_key
from queueapp.models import ApiKey, Task
from queueapp.waiting import listening, number_waiting
from tests.transports.conftest import assert_problem

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("either_way")]


async def get(key: str, path: str) -> Any:
    return await AsyncClient().get(path, headers={"authorization": f"Bearer {key}"})


async def seconds_of(waiting_one: Awaitable[Any]) -> float:
    started = monotonic()
    await waiting_one
    return monotonic() - started


class TestWaiting:
    @pytest.mark.usefixtures("slow_poll")
    async def test_ends_with_the_task(self, key: str, task_id: str) -> None:
        request = asyncio.create_task(get(key, f"/api/v1/tasks/{task_id}?wait={LONG}"))
        await until_waiting(1)
        await off_loop(partial(cancel, task_id))
        response = await asyncio.wait_for(request, LONG / 2)
        assert (response.status_code, response.json()["state"]) == (200, "cancelled")

    @pytest.mark.usefixtures("slow_poll")
    @pytest.mark.parametrize(
        ("changed", "status"),
        [
            ({"role": "worker"}, 403),
            ({"task_globs": ["other"]}, 404),
            ({"revoked_at": timezone.now()}, 401),
        ],
        ids=["its role", "its names", "all"],
    )
    async def test_is_in_vain_for_a_key_that_has_lost(
        self, key: str, task_id: str, changed: dict[str, Any], status: int
    ) -> None:
        request = asyncio.create_task(get(key, f"/api/v1/tasks/{task_id}?wait={LONG}"))
        await until_waiting(1)
        await off_loop(lambda: ApiKey.objects.update(**changed))
        await off_loop(partial(cancel, task_id))
        assert_problem(await asyncio.wait_for(request, LONG / 2), status)

    @pytest.mark.usefixtures("slow_poll")
    async def test_of_whom_the_database_tells_nothing_at_the_end_is_answered_by_the_view(
        self, key: str, task_id: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Which has a problem (503) for it; here it is back by then."""
        request = asyncio.create_task(get(key, f"/api/v1/tasks/{task_id}?wait={LONG}"))
        await until_waiting(1)
        away = OperationalError("the connection is gone")
        monkeypatch.setattr(fetching, "tasks_with_keys", Mock(side_effect=away))
        await off_loop(partial(cancel, task_id))
        response = await asyncio.wait_for(request, LONG / 2)
        assert (response.status_code, response.json()["state"]) == (200, "cancelled")

    async def test_ends_when_the_seconds_are_over(self, key: str, task_id: str) -> None:
        response = await get(key, f"/api/v1/tasks/{task_id}?wait=0.05")
        assert (response.status_code, response.json()["state"]) == (200, "pending")

    async def test_is_capped(self, key: str, task_id: str, settings: Any) -> None:
        settings.WORKQUEUE = replace(project_settings.WORKQUEUE, max_wait_seconds=0.05)
        elapsed = await seconds_of(get(key, f"/api/v1/tasks/{task_id}?wait=1000000"))
        assert elapsed < LONG

    @pytest.mark.usefixtures("slow_poll")
    async def test_does_not_begin_for_what_has_ended(self, key: str, task_id: str) -> None:
        await off_loop(partial(cancel, task_id))
        response = await asyncio.wait_for(get(key, f"/api/v1/tasks/{task_id}?wait={LONG}"), LONG / 2)
        assert response.json()["state"] == "cancelled"

    @pytest.mark.usefixtures("slow_poll")
    async def test_does_not_begin_for_strangers(self, task_id: str) -> None:
        _, stranger = await off_loop(lambda: create_key("s", "producer"))
        path = f"/api/v1/tasks/{task_id}?wait={LONG}"
        assert_problem(await asyncio.wait_for(get(stranger, path), LONG / 2), 404)
        assert_problem(await asyncio.wait_for(get("wq_nobody", path), LONG / 2), 401)

    def test_works_from_a_server_without_an_event_loop(self, key: str, task_id: str) -> None:
        for _ in range(2):  # each request gets, and loses, a loop of its own
            response = Client().get(
                f"/api/v1/tasks/{task_id}?wait=0.01", headers={"authorization": f"Bearer {key}"}
            )
            assert response.json()["state"] == "pending"


async def until_terminal(task_id: UUID, seconds: float) -> None:
    with listening() as ends:
        await ends.until_terminal(task_id, seconds)


class TestUntilTerminal:
    @pytest.mark.usefixtures("slow_poll")
    async def test_does_not_begin_for_what_ended_since_one_listens(self, task_id: str) -> None:
        with listening() as ends:
            await off_loop(partial(cancel, task_id))
            assert await seconds_of(ends.until_terminal(UUID(task_id), LONG)) < LONG / 2

    @pytest.mark.usefixtures("slow_poll")
    async def test_keeps_nothing_of_what_else_ends(self, task_id: str) -> None:
        with listening() as ends:
            waiter = asyncio.create_task(ends.until_terminal(UUID(task_id), LONG))
            await until_waiting(1)
            doorbell.deliver(doorbell.Ring(ended=frozenset({UUID(int=1)})))
            assert not ends._ended
            await off_loop(partial(cancel, task_id))
            await asyncio.wait_for(waiter, LONG / 2)

    @pytest.mark.usefixtures("fast_poll")
    async def test_hears_of_what_the_doorbell_did_not_tell(self, task_id: str) -> None:
        waiter = asyncio.create_task(until_terminal(UUID(task_id), LONG))
        await until_waiting(1)
        await off_loop(partial(unheard, cancel, task_id))
        assert await seconds_of(waiter) < LONG / 2

    @pytest.mark.usefixtures("fast_poll")
    async def test_does_not_wait_for_a_task_that_is_no_more(self, task_id: str) -> None:
        await off_loop(Task.objects.all().delete)
        assert await seconds_of(until_terminal(UUID(task_id), LONG)) < LONG / 2

    @pytest.mark.usefixtures("slow_poll")
    async def test_wakes_all_who_wait_and_leaves_nothing(self, task_id: str) -> None:
        everybody = [asyncio.create_task(until_terminal(UUID(task_id), LONG)) for _ in range(1000)]
        await until_waiting(1000)
        assert [thread.name for thread in threading.enumerate()].count("until-terminal") == 1
        await off_loop(partial(cancel, task_id))
        assert await seconds_of(asyncio.gather(*everybody)) < LONG / 2
        assert number_waiting() == 0

    @pytest.mark.usefixtures("slow_poll")
    async def test_leaves_nothing_when_the_client_has_gone(self, task_id: str) -> None:
        waiter = asyncio.create_task(until_terminal(UUID(task_id), LONG))
        await until_waiting(1)
        waiter.cancel()
        await asyncio.gather(waiter, return_exceptions=True)
        assert number_waiting() == 0


class TestPrefer:
    """`Prefer: wait=SECONDS` with a submission."""

    async def post(self, key: str, body: Any, prefer: str) -> Any:
        headers = {"authorization": f"Bearer {key}", "prefer": prefer}
        return await AsyncClient().post("/api/v1/tasks", body, content_type="application/json", headers=headers)

    @pytest.mark.usefixtures("slow_poll")
    async def test_answers_with_the_task_once_it_has_ended(self, key: str):
        submitting = asyncio.create_task(self.post(key, {"name": "tag"}, "respond-async, wait=60"))
        await until_waiting(1)
        await off_loop(cancel_all)
        response = await submitting
        assert (response.status_code, response.json()["state"]) == (201, "cancelled")
        assert response["Preference-Applied"] == "wait=60"
        assert response["Location"].endswith(response.json()["id"])

    @pytest.mark.usefixtures("slow_poll")
    async def test_is_answered_when_the_task_ends_before_the_wait(self, key: str, monkeypatch: pytest.MonkeyPatch):
        """A worker may be quicker than the way from the submission to the wait."""
        monkeypatch.setattr(lifecycle, "submit", ended_at_once(lifecycle.submit))
        response = await asyncio.wait_for(self.post(key, {"name": "tag"}, "wait=60"), LONG / 2)
        assert (response.status_code, response.json()["state"]) == (201, "cancelled")

    async def test_answers_with_a_receipt_when_the_task_is_no_more(
        self, key: str, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(lifecycle, "submit", gone_at_once(lifecycle.submit))
        response = await self.post(key, {"name": "tag"}, "wait=1")
        assert response.status_code == 201
        assert response["Location"].endswith(response.json()["ids"][0])

    @pytest.mark.usefixtures("slow_poll")
    async def test_is_in_vain_for_a_key_that_is_revoked(self, key: str):
        submitting = asyncio.create_task(self.post(key, {"name": "tag"}, "wait=60"))
        await until_waiting(1)
        await off_loop(lambda: ApiKey.objects.update(revoked_at=timezone.now()))
        await off_loop(cancel_all)
        assert_problem(await asyncio.wait_for(submitting, LONG / 2), 401)

    async def test_answers_when_the_seconds_are_over(self, key: str):
        response = await self.post(key, {"name": "tag"}, "wait=1")
        assert (response.status_code, response.json()["state"]) == (201, "pending")
        assert response["Preference-Applied"] == "wait=1"

    @pytest.mark.parametrize("prefer", ["wait=0", "wait=soon", "return=minimal", "await=5"])
    async def test_that_asks_for_nothing_is_answered_at_once(self, key: str, prefer: str):
        response = await self.post(key, {"name": "tag"}, prefer)
        assert response.status_code == 201
        assert "Preference-Applied" not in response

    async def test_does_not_hold_for_an_array_nor_for_what_is_refused(self, key: str):
        for body, status in (([{"name": "tag"}], 201), ({"name": ""}, 400)):
            response = await self.post(key, body, "wait=60")
            assert response.status_code == status
            assert "Preference-Applied" not in response


def ended_at_once(submit: Any) -> Any:
    def submit_and_end(*arguments: Any) -> Any:
        receipts = submit(*arguments)
        cancel_all()
        return receipts

    return submit_and_end


def gone_at_once(submit: Any) -> Any:
    def submit_and_prune(*arguments: Any) -> Any:
        receipts = submit(*arguments)
        Task.objects.all().delete()
        return receipts

    return submit_and_prune
