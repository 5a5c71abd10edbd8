"""POST /tasks with an Idempotency-Key."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.test import AsyncClient
from rest_framework.test import APIClient
from waiting_requests import LONG, cancel_all, until_waiting

from queueapp import access, database, idempotency, lifecycle, maintenance
from queueapp.api.base import off_loop
from queueapp.lifecycle import activity
from queueapp.models import IdempotentRequest, Task, new_id
from tests.asking import asking
from tests.transports.conftest import Caller, assert_problem, state_of, submit

TASKS = "/api/v1/tasks"


def post(client: APIClient, body: Any, key: str = "k") -> Any:
    return client.post(TASKS, body, format="json", headers={"Idempotency-Key": key})


def age(by: timedelta) -> None:
    for row in IdempotentRequest.objects.all():
        IdempotentRequest.objects.filter(pk=row.pk).update(created_at=row.created_at - by)


@pytest.mark.django_db
class TestTheSameRequestAgain:
    def test_is_given_the_first_answer(self, producer: APIClient) -> None:
        first = post(producer, {"name": "tag", "data": {"n": [1.5, "ü", None]}})
        second = post(producer, {"name": "tag", "data": {"n": [1.5, "ü", None]}})
        assert (first.status_code, second.status_code) == (201, 201)
        assert second.content == first.content
        assert second["Location"] == first["Location"]
        assert Task.objects.count() == 1

    def test_is_given_it_as_it_was_whatever_has_become_of_the_task(self, producer: APIClient) -> None:
        first = post(producer, {"name": "tag"})
        producer.post(f"{first['Location']}/cancel")
        assert post(producer, {"name": "tag"}).content == first.content
        assert state_of(first.json()["id"]) == "cancelled"

    def test_makes_no_second_array(self, producer: APIClient) -> None:
        first = post(producer, [{"name": "tag"}] * 3)
        assert post(producer, [{"name": "tag"}] * 3).content == first.content
        assert first.json()["count"] == Task.objects.count() == 3

    def test_is_told_again_of_the_live_task_of_a_unique_key(self, producer: APIClient) -> None:
        task_id = submit(producer, unique_key="u")
        first = post(producer, {"name": "tag", "unique_key": "u"})
        lifecycle.cancel([UUID(task_id)], database.now())
        assert first.status_code == 200
        assert post(producer, {"name": "tag", "unique_key": "u"}).content == first.content

    def test_is_one_although_its_trace_is_another(self, producer: APIClient) -> None:
        headers = {"Idempotency-Key": "k", "traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}
        first = post(producer, {"name": "tag"})
        second = producer.post(TASKS, {"name": "tag"}, format="json", headers=headers)
        assert second.content == first.content


@pytest.mark.django_db
class TestAKey:
    def test_of_another_body_is_422(self, producer: APIClient) -> None:
        post(producer, {"name": "tag"})
        problem = assert_problem(post(producer, {"name": "other"}), 422)
        assert problem["type"] == "urn:workqueue:problem:idempotency-key-reused"
        assert Task.objects.count() == 1

    def test_is_its_owners(self, caller: Caller) -> None:
        mine, yours = post(caller("producer"), {"name": "tag"}), post(caller("producer"), {"name": "tag"})
        assert mine.json()["id"] != yours.json()["id"]

    def test_of_an_admin_user_is_no_api_keys(
        self, operator: APIClient, admin_user_client: Callable[..., APIClient]
    ) -> None:
        user = admin_user_client(is_staff=True, is_superuser=True)
        first = post(user, {"name": "tag"})
        assert post(operator, {"name": "tag"}).json()["id"] != first.json()["id"]
        assert post(user, {"name": "tag"}).content == first.content

    def test_is_one_of_many(self, producer: APIClient) -> None:
        assert (
            post(producer, {"name": "tag"}, "k").json()["id"] != post(producer, {"name": "tag"}, "l").json()["id"]
        )

    def test_is_compared_to_the_letter(self, producer: APIClient) -> None:
        assert (
            post(producer, {"name": "tag"}, "k").json()["id"] != post(producer, {"name": "tag"}, "K").json()["id"]
        )

    @pytest.mark.parametrize("key", ["", "x" * 256, "ü", "a\tb"])
    def test_that_cannot_be_used_is_400(self, producer: APIClient, key: str) -> None:
        problem = assert_problem(post(producer, {"name": "tag"}, key), 400)
        assert "Idempotency-Key must be 1 to 255 printable ASCII" in problem["detail"]
        assert not Task.objects.exists()

    @pytest.mark.parametrize("key", ["x" * 255, '"8e03978e-40d5-43dd-bc93-6894a57f9324"', "two words"])
    def test_may_be_any_other_text(self, producer: APIClient, key: str) -> None:
        assert post(producer, {"name": "tag"}, key).content == post(producer, {"name": "tag"}, key).content
        assert Task.objects.count() == 1


@pytest.mark.django_db
class TestARefusal:
    """It has done nothing, so it is no answer: what is wrong may be put right under the same key."""

    def test_of_a_bad_body_is_not_kept(self, producer: APIClient) -> None:
        assert_problem(post(producer, {"name": "no name"}), 400)
        assert post(producer, {"name": "tag"}).status_code == 201

    def test_of_a_name_that_the_key_may_not_touch_is_not_kept(self, caller: Caller) -> None:
        client = caller("producer", "image.*")
        assert_problem(post(client, {"name": "tag"}), 403)
        assert post(client, {"name": "image.tag"}).status_code == 201

    def test_for_another_producers_unique_key_is_not_kept(self, caller: Caller) -> None:
        other, client = caller("producer"), caller("producer")
        taken = submit(other, unique_key="u")
        assert_problem(post(client, {"name": "tag", "unique_key": "u"}), 409)
        other.post(f"{TASKS}/{taken}/cancel")
        assert post(client, {"name": "tag", "unique_key": "u"}).status_code == 201


@pytest.mark.django_db
class TestAnAnswer:
    def test_is_kept_for_a_day(self, producer: APIClient) -> None:
        first = post(producer, {"name": "tag"})
        age(timedelta(hours=23, minutes=59))
        maintenance.tick(database.now(), access.Watch(new_id()), activity.Books())
        assert post(producer, {"name": "tag"}).content == first.content

    def test_is_forgotten_after_a_day(self, producer: APIClient) -> None:
        first = post(producer, {"name": "tag"})
        age(idempotency.KEPT)
        second = post(producer, {"name": "other"})
        assert second.status_code == 201
        assert second.json()["id"] != first.json()["id"]
        assert post(producer, {"name": "other"}).content == second.content

    def test_is_cleared_away_after_a_day(self, producer: APIClient) -> None:
        post(producer, {"name": "tag"}, "old")
        age(idempotency.KEPT)
        post(producer, {"name": "tag"}, "new")
        maintenance.tick(database.now(), access.Watch(new_id()), activity.Books())
        assert IdempotentRequest.objects.get().key == "new"


@pytest.mark.django_db
def test_a_submission_without_a_key_does_nothing_for_those_with_one(producer: APIClient) -> None:
    submit(producer)
    with asking() as asked:
        submit(producer)
    assert not [each for each in asked if "idempotent" in each or "advisory" in each]


@pytest.mark.usefixtures("apart")
@pytest.mark.django_db(transaction=True)
class TestWithPreferWait:
    """What is done once is the submission. Who asks again waits again."""

    async def post(self, key: str, wait: float) -> Any:
        headers = {"authorization": f"Bearer {key}", "idempotency-key": "k", "prefer": f"wait={wait}"}
        return await AsyncClient().post(TASKS, '{"name": "tag"}', "application/json", headers=headers)

    async def test_both_wait_for_the_one_task(self, key: str) -> None:
        first = asyncio.create_task(self.post(key, LONG))
        await until_waiting(1)
        second = asyncio.create_task(self.post(key, LONG))
        await until_waiting(2)
        await off_loop(cancel_all)
        answers = [await first, await second]
        assert [answer.status_code for answer in answers] == [201, 201]
        assert [answer["Preference-Applied"] for answer in answers] == ["wait=60", "wait=60"]
        assert answers[0].json()["state"] == "cancelled"
        assert answers[0].content == answers[1].content

    @pytest.mark.usefixtures("slow_poll")
    async def test_a_task_that_has_ended_meanwhile_is_answered_at_once(self, key: str) -> None:
        """Guard: the first answer, given again, says that it is pending."""
        first = await self.post(key, 0)
        await off_loop(cancel_all)
        async with asyncio.timeout(LONG / 2):
            again = await self.post(key, LONG)
        assert (again.status_code, again["Location"]) == (201, first["Location"])
        assert (first.json()["state"], again.json()["state"]) == ("pending", "cancelled")

    @pytest.mark.usefixtures("slow_poll")
    async def test_a_task_that_is_no_more_is_not_waited_for(self, key: str) -> None:
        first = await self.post(key, 0)
        await off_loop(lambda: Task.objects.all().delete())
        async with asyncio.timeout(LONG / 2):
            again = await self.post(key, LONG)
        assert (again.status_code, again.content) == (201, first.content)
