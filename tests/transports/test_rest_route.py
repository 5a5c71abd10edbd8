"""POST /route, and who may have what explained."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from rest_framework.test import APIClient

from queueapp.models import Queue, Route, Task
from tests.integration.fleet import Fleet, holder_of
from tests.transports.conftest import Caller, assert_problem, submit

pytestmark = pytest.mark.django_db(transaction=True)

ROUTE = "/api/v1/route"


def routed(client: APIClient, name: str = "tag", **attrs: str) -> dict[str, Any]:
    response = client.post(ROUTE, {"name": name, "attrs": attrs}, format="json")
    assert response.status_code == 200, response.json()
    return response.json()


class TestATaskThatDoesNotExist:
    def test_is_explained_as_one_that_does(self, fleet: Fleet, producer: APIClient) -> None:
        fleet.attach("task=tag&cloud=aws,gcp&_name=worker1", "task=tag&cloud=aws&account=123&_name=worker2")
        said = routed(producer, cloud="aws", account="123")
        task_id = submit(producer, attrs={"cloud": "aws", "account": "123"})
        explained = producer.get(f"/api/v1/tasks/{task_id}/explain").json()
        assert said.keys() == explained.keys()
        assert said["chosen"] == explained["chosen"]
        assert said["chosen"]["name"] == "worker2"
        assert (said["task"], said["state"], said["since"]) == (None, None, None)
        assert said["summary"].startswith("It would be next: worker worker2 would be taken")
        fleet.run()
        assert holder_of(UUID(task_id)) == UUID(said["chosen"]["id"])

    def test_would_come_after_those_of_its_priority(self, fleet: Fleet, producer: APIClient) -> None:
        fleet.attach("task=tag&_max_outstanding=1")
        for priority in (-1, 0, 1):
            submit(producer, priority=priority)
        said = routed(producer)
        assert said["summary"] == "It would wait: 2 tasks are ahead of it."
        assert said["ahead"] == {"count": 2, "or_more": False}

    def test_may_spill_as_its_queue_says(self, fleet: Fleet, producer: APIClient) -> None:
        general, _ = fleet.attach("task=tag", "task=tag&cloud=aws&_max_outstanding=1")
        submit(producer, attrs={"cloud": "aws"})
        fleet.run()
        assert routed(producer, cloud="aws")["reason"] == "full"
        Queue.objects.filter(pk="tag").update(spill_after_seconds=0)
        assert routed(producer, cloud="aws")["chosen"]["id"] == str(general)

    def test_is_not_made(self, producer: APIClient) -> None:
        routed(producer, name="new", cloud="aws")
        assert (Task.objects.count(), Route.objects.count(), Queue.objects.count()) == (0, 0, 0)

    @pytest.mark.parametrize(
        ("body", "pointer"),
        [
            ({}, "/name"),
            ([], ""),
            ("tag", ""),
            (None, "/name"),
            ({"name": "no name"}, "/name"),
            ({"name": "tag", "attrs": {"cloud": 1}}, "/attrs"),
            ({"name": "tag", "attrs": {"": "x"}}, "/attrs"),
            ({"name": "tag", "priority": 5}, "/priority"),
            ({"name": "tag", "a/b": 5}, "/a~1b"),
        ],
    )
    def test_must_have_a_name_and_may_have_attributes(self, producer: APIClient, body: Any, pointer: str) -> None:
        problem = assert_problem(producer.post(ROUTE, body, format="json"), 400)
        assert [error["pointer"] for error in problem["errors"]] == [pointer]

    def test_is_not_asked_for_with_parameters(self, producer: APIClient) -> None:
        assert_problem(producer.post(f"{ROUTE}?name=tag", {"name": "tag"}, format="json"), 400)


class TestWhoMayAsk:
    def test_nobody_without_a_key(self) -> None:
        assert_problem(APIClient().post(ROUTE, {"name": "tag"}, format="json"), 401)

    def test_no_worker(self, caller: Caller, producer: APIClient) -> None:
        task_id = submit(producer)
        assert_problem(caller("worker").post(ROUTE, {"name": "tag"}, format="json"), 403)
        assert_problem(caller("worker").get(f"/api/v1/tasks/{task_id}/explain"), 403)

    def test_a_producer_of_its_own_tasks_only(self, caller: Caller, operator: APIClient) -> None:
        task_id = submit(caller("producer"))
        other = caller("producer")
        hidden = assert_problem(other.get(f"/api/v1/tasks/{task_id}/explain"), 404)
        nothing = "00000000-0000-0000-0000-000000000000"
        missing = assert_problem(other.get(f"/api/v1/tasks/{nothing}/explain"), 404)
        assert hidden == {**missing, "detail": missing["detail"].replace(nothing, task_id)}
        assert operator.get(f"/api/v1/tasks/{task_id}/explain").status_code == 200

    def test_a_key_for_certain_names_of_these_only(self, caller: Caller, operator: APIClient) -> None:
        task_id = submit(operator)
        client = caller("operator", "image.*")
        assert_problem(client.get(f"/api/v1/tasks/{task_id}/explain"), 404)
        assert_problem(client.post(ROUTE, {"name": "tag"}, format="json"), 403)
        assert_problem(client.post(ROUTE, {"name": "unheard-of"}, format="json"), 403)


class TestOfWorkersAKeyForCertainNames:
    def test_is_told_of_those_that_it_may_list(self, fleet: Fleet, caller: Caller) -> None:
        fleet.attach("task=image.resize,secret", "task=image.crop", "task=secret", "task=secret.too&image=1")
        client = caller("producer", "image.*")
        listed = {worker["id"] for worker in client.get("/api/v1/workers").json()["results"]}
        said = routed(client, name="image.resize")
        assert {worker["id"] for worker in said["workers"]} == listed
        assert said["workers_total"] == len(listed) == 2
        assert sum(group["workers"] for group in said["groups"]) == 2
        assert "secret" not in str(said)

    def test_is_given_no_name_to_guess_that_it_may_not_touch(self, fleet: Fleet, caller: Caller) -> None:
        fleet.attach("task=image.resize,images.y")
        client = caller("producer", "image.*")
        assert routed(client, name="image.rezise")["suggestions"][0]["meant"] == "image.resize"
        assert routed(client, name="image.y")["suggestions"] == []
        assert routed(caller("producer"), name="image.y")["suggestions"][0]["meant"] == "images.y"

    def test_is_not_told_what_a_worker_added_to_its_registration(self, fleet: Fleet, producer: APIClient) -> None:
        fleet.attach("task=tag&_version=9.9")
        said = routed(producer)
        assert set(said["workers"][0]) <= {
            *("id", "name", "state", "outstanding", "max_outstanding"),  # as `/workers` tells
            *("matched", "verdict", "message", "criterion", "specificity"),
        }
