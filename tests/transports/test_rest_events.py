"""GET /tasks/{id}/events: what has become of the task, at once, and then each change until it ends."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from django.test import AsyncClient
from rest_framework.test import APIClient
from streams import get, opened, told
from waiting_requests import LONG, cancel, unheard

from queueapp import database, lifecycle, watching
from queueapp.api import events
from queueapp.api.base import off_loop
from queueapp.api.handler import KeyedHandler
from queueapp.auth import create_key
from queueapp.lifecycle import SignOfLife
from queueapp.models import ApiKey, Task
from tests.transports.conftest import assert_problem, assign, attached, finish, submit

pytestmark = pytest.mark.django_db(transaction=True)


class TestAStream:
    @pytest.mark.usefixtures("fast_poll")
    async def test_tells_the_state_at_once_and_then_each_change_until_the_result(self, key: str, task_id: str):
        stream = await opened(key, task_id)
        assert told([await stream.next()]) == [("state", "pending")]
        worker = await off_loop(lambda: attached("tag"))
        await off_loop(partial(assign, task_id, worker))
        kind, data = await stream.next()
        assert (kind, data["state"], data["attempt"], data["worker"]) == ("state", "assigned", 1, str(worker.id))
        sign = SignOfLife(worker.id, UUID(task_id), progress=0.5, message="half")
        await off_loop(lambda: lifecycle.prolong([sign], database.now()))
        kind, data = await stream.next()
        assert (kind, data["progress"], data["progress_message"]) == ("progress", 0.5, "half")
        await off_loop(partial(finish, task_id, worker, payload='{"n": "ü\\n"}'))
        found = await stream.rest()
        assert told(found) == [("state", "succeeded"), ("result", "succeeded")]
        path = f"/api/v1/tasks/{task_id}?wait=1"
        read = await AsyncClient().get(path, headers={"authorization": f"Bearer {key}"})
        assert found[-1][1] == read.json()
        assert read.json()["result"] == {"n": "ü\n"}

    @pytest.mark.usefixtures("slow_poll")
    async def test_is_woken_at_once_by_the_doorbell_for_the_end(self, key: str, task_id: str):
        stream = await opened(key, task_id)
        await stream.next()
        await off_loop(partial(cancel, task_id))
        async with asyncio.timeout(LONG / 2):
            assert told(await stream.rest()) == [("state", "cancelled"), ("result", "cancelled")]

    @pytest.mark.usefixtures("fast_poll")
    async def test_finds_what_the_doorbell_did_not_tell(self, key: str, task_id: str):
        stream = await opened(key, task_id)
        await stream.next()
        await off_loop(partial(unheard, cancel, task_id))
        assert told(await stream.rest()) == [("state", "cancelled"), ("result", "cancelled")]

    async def test_of_what_has_ended_is_its_result(self, key: str, task_id: str):
        await off_loop(partial(cancel, task_id))
        stream = await opened(key, task_id)
        assert told(await stream.rest()) == [("state", "cancelled"), ("result", "cancelled")]

    @pytest.mark.usefixtures("slow_poll")
    async def test_says_now_and_then_that_it_is_alive(self, key: str, task_id: str, monkeypatch: Any):
        monkeypatch.setattr(events, "HEARTBEAT_SECONDS", 0.02)
        stream = await opened(key, task_id)
        assert [(await stream.next())[0] for _ in range(3)] == ["state", ":", ":"]

    @pytest.mark.usefixtures("slow_poll")
    async def test_ends_when_the_server_does(self, key: str, task_id: str):
        stream = await opened(key, task_id)
        await stream.next()
        watching.release_all()
        async with asyncio.timeout(LONG / 2):
            assert await stream.rest() == []
        assert watching.number_watching() == 0

    @pytest.mark.usefixtures("fast_poll")
    async def test_ends_with_the_task(self, key: str, task_id: str):
        stream = await opened(key, task_id)
        await stream.next()
        await off_loop(Task.objects.all().delete)
        assert await stream.rest() == []

    def test_beats_often_enough_for_proxies(self):
        assert events.HEARTBEAT_SECONDS == 15


class TestAReaderThatComesAgain:
    @pytest.mark.usefixtures("fast_poll")
    async def test_is_not_told_what_it_knows(self, key: str, task_id: str):
        stream = await opened(key, task_id)
        await stream.next()
        again = await opened(key, task_id, **{"last-event-id": stream.ids[-1]})
        await off_loop(partial(cancel, task_id))
        assert told(await again.rest()) == [("state", "cancelled"), ("result", "cancelled")]

    async def test_is_told_the_result_that_it_missed(self, key: str, task_id: str):
        await off_loop(partial(cancel, task_id))
        stream = await opened(key, task_id)
        await stream.next()
        again = await opened(key, task_id, **{"last-event-id": stream.ids[-1]})
        assert told(await again.rest()) == [("result", "cancelled")]

    async def test_need_not_come_again_after_the_result(self, key: str, task_id: str):
        await off_loop(partial(cancel, task_id))
        stream = await opened(key, task_id)
        await stream.rest()
        response = await get(key, task_id, **{"last-event-id": stream.ids[-1]})
        assert (response.status_code, response.content) == (204, b"")

    async def test_is_told_of_another_life_after_a_retry(self, key: str, task_id: str):
        await off_loop(partial(cancel, task_id))
        stream = await opened(key, task_id)
        await stream.rest()
        await off_loop(lambda: lifecycle.retry([UUID(task_id)], database.now()))
        again = await opened(key, task_id, **{"last-event-id": stream.ids[-1]})
        assert told([await again.next()]) == [("state", "pending")]

    @pytest.mark.parametrize("last", ["", "1", "x" * 9999, "00000000-00000000-end"])
    async def test_with_an_id_of_nobodys_is_told_all(self, key: str, task_id: str, last: str):
        stream = await opened(key, task_id, **{"last-event-id": last})
        assert told([await stream.next()]) == [("state", "pending")]


class TestAccess:
    async def test_is_that_to_the_task(self, key: str, task_id: str):
        _, stranger = await off_loop(lambda: create_key("s", "producer"))
        assert_problem(await get(stranger, task_id), 404)
        assert_problem(await get("wq_nobody", task_id), 401)
        assert_problem(await AsyncClient().post(f"/api/v1/tasks/{task_id}/events"), 401)

    @pytest.mark.usefixtures("fast_poll")
    async def test_is_looked_at_again_at_each_change(self, key: str, task_id: str):
        stream = await opened(key, task_id)
        await stream.next()
        await off_loop(lambda: ApiKey.objects.update(revoked_at=database.now()))
        await off_loop(partial(cancel, task_id))
        assert await stream.rest() == []

    @pytest.mark.usefixtures("fast_poll")
    @pytest.mark.parametrize(
        "end", [lambda: ApiKey.objects.update(revoked_at=database.now()), ApiKey.objects.all().delete]
    )
    async def test_ends_a_poll_after_the_key_does_though_nothing_changes(
        self, key: str, task_id: str, end: Callable[[], Any]
    ):
        stream = await opened(key, task_id)
        await stream.next()
        await off_loop(end)
        async with asyncio.timeout(events.HEARTBEAT_SECONDS - 1):
            assert await stream.rest() == []

    @pytest.mark.usefixtures("slow_poll")
    async def test_is_looked_at_again_with_each_heartbeat(self, key: str, task_id: str, monkeypatch: Any):
        """For whoever comes without a key, and for what else of a key may change."""
        monkeypatch.setattr(events, "HEARTBEAT_SECONDS", 0.02)
        stream = await opened(key, task_id)
        await stream.next()
        await off_loop(lambda: ApiKey.objects.update(role=ApiKey.Role.WORKER))
        async with asyncio.timeout(LONG / 2):
            assert {kind for kind, _ in await stream.rest()} <= {":"}

    async def test_takes_no_parameters(self, key: str, task_id: str):
        response = await AsyncClient().get(
            f"/api/v1/tasks/{task_id}/events?wait=1", headers={"authorization": f"Bearer {key}"}
        )
        assert_problem(response, 400)


class TestManyStreams:
    @pytest.mark.usefixtures("slow_poll")
    async def test_have_one_thread_and_leave_nothing(self, key: str, task_id: str):
        streams = [await opened(key, task_id) for _ in range(50)]
        for stream in streams:
            await stream.next()
        assert [thread.name for thread in threading.enumerate()].count("watchtower") == 1
        await off_loop(partial(cancel, task_id))
        async with asyncio.timeout(LONG / 2):
            assert len(await asyncio.gather(*(stream.rest() for stream in streams))) == 50
        assert watching.number_watching() == 0

    async def test_are_asked_for_in_one_statement(self, key: str, django_assert_num_queries: Any):
        client = APIClient()
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {key}")
        ids = await off_loop(lambda: [UUID(submit(client)) for _ in range(20)])
        tower = watching._Watchtower()
        tower._versions = dict.fromkeys(ids, ("pending", 0, None, ""))

        def look() -> None:
            with django_assert_num_queries(1):
                tower._compare(dict(tower._versions))

        await off_loop(look)

    async def test_of_one_task_that_have_seen_different_things_are_all_told(self, key: str, task_id: str):
        """Who comes late may have read what the others have not been told of yet."""
        tower = watching._Watchtower()
        tower._polling = tower._listening = True
        early, late = (
            watching.Follower(asyncio.get_running_loop(), seen)
            for seen in [("assigned", 1, None, ""), ("pending", 0, None, "")]
        )
        with tower.entered(UUID(task_id), early), tower.entered(UUID(task_id), late):
            await off_loop(lambda: tower._compare(dict(tower._versions)))
            assert await early.changed(LONG)


class TestAKeyedRequest:
    """Past Django's own handler: a stream there ends with its reader."""

    async def test_is_streamed_and_let_go_of_when_the_reader_leaves(self, key: str, task_id: str):
        sent: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        leaving = asyncio.Event()
        bodies = iter([{"type": "http.request", "body": b"", "more_body": False}])

        async def receive() -> dict[str, Any]:
            for message in bodies:
                return message
            await leaving.wait()
            return {"type": "http.disconnect"}

        scope = {
            "type": "http",
            "method": "GET",
            "path": f"/api/v1/tasks/{task_id}/events",
            "query_string": b"",
            "headers": [(b"authorization", f"Bearer {key}".encode()), (b"host", b"localhost")],
        }
        serving = asyncio.create_task(KeyedHandler()(scope, receive, sent.put))
        async with asyncio.timeout(LONG):
            assert (await sent.get())["status"] == 200
            first = await sent.get()
            assert b"event: state" in first["body"]
            assert first["more_body"]
            assert watching.number_watching() == 1
            leaving.set()
            await serving
            while watching.number_watching():  # noqa: ASYNC110 - a generator is closed a moment later
                await asyncio.sleep(0)
