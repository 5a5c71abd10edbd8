"""Who may call what."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.utils import timezone
from rest_framework.test import APIClient

from queueapp.models import ApiKey
from tests.transports.conftest import Caller, assert_problem, assign, attached, submit

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("either_way")]

EVERY_READ = ["/api/v1/tasks", "/api/v1/workers", "/api/v1/queues", "/work/list"]


class TestWithoutAGoodKey:
    @pytest.mark.parametrize("path", EVERY_READ)
    def test_nothing_is_answered(self, path: str) -> None:
        response = APIClient().get(path)
        assert_problem(response, 401)
        assert response["WWW-Authenticate"].startswith("Bearer")

    @pytest.mark.parametrize(
        "header", ["Bearer wq_nobody", "bearer", "Bearer", "Bearer a b", "Basic eDp5", "Bearer \xff", "wq_x"]
    )
    def test_a_wrong_credential_is_401(self, header: str) -> None:
        assert_problem(APIClient().get("/api/v1/tasks", HTTP_AUTHORIZATION=header), 401)

    def test_a_revoked_key_is_401(self, producer: APIClient) -> None:
        ApiKey.objects.update(revoked_at=timezone.now())
        assert_problem(producer.get("/api/v1/tasks"), 401)

    def test_a_bad_key_is_not_made_good_by_a_session(self, admin_user_client: Callable[..., APIClient]) -> None:
        client = admin_user_client(is_staff=True)
        assert_problem(client.get("/api/v1/tasks", HTTP_AUTHORIZATION="Bearer wq_nobody"), 401)


class TestAWorkersKey:
    @pytest.mark.parametrize("path", EVERY_READ)
    def test_is_403(self, caller: Caller, path: str) -> None:
        assert_problem(caller("worker").get(path), 403)


class TestAProducersKey:
    def test_reads_only_its_own_tasks(self, caller: Caller) -> None:
        mine, yours = caller("producer"), caller("producer")
        task_id = submit(mine)
        worker = attached("tag")
        assign(task_id, worker)
        assert mine.get(f"/api/v1/tasks/{task_id}").status_code == 200
        assert len(mine.get("/work/list").json()) == 1
        assert yours.get("/api/v1/tasks").json()["results"] == []
        assert yours.get("/work/list").json() == []

    @pytest.mark.parametrize("rest", ["", "/attempts"])
    def test_cannot_tell_anothers_task_from_none(self, caller: Caller, rest: str) -> None:
        task_id = submit(caller("producer"))
        other = caller("producer")
        hidden = assert_problem(other.get(f"/api/v1/tasks/{task_id}{rest}"), 404)
        nothing = "00000000-0000-0000-0000-000000000000"
        missing = assert_problem(other.get(f"/api/v1/tasks/{nothing}{rest}"), 404)
        assert hidden == {**missing, "detail": missing["detail"].replace(nothing, task_id)}

    @pytest.mark.parametrize("verb", ["cancel", "retry"])
    def test_cannot_steer_anothers_task(self, caller: Caller, operator: APIClient, verb: str) -> None:
        task_id = submit(caller("producer"))
        assert_problem(caller("producer").post(f"/api/v1/tasks/{task_id}/{verb}"), 404)
        assert operator.get(f"/api/v1/tasks/{task_id}").json()["state"] == "pending"

    @pytest.mark.parametrize(
        "path", ["workers/{worker}/drain", "workers/{worker}/disconnect", "queues/tag/pause", "queues/tag/resume"]
    )
    def test_is_not_an_operators(self, producer: APIClient, path: str) -> None:
        worker = attached("tag")
        assert_problem(producer.post("/api/v1/" + path.format(worker=worker.id)), 403)

    def test_does_not_get_anothers_task_by_its_unique_key(self, caller: Caller) -> None:
        submit(caller("producer"), unique_key="nightly", data="secret")
        response = caller("producer").post(
            "/api/v1/tasks", {"name": "tag", "unique_key": "nightly"}, format="json"
        )
        assert_problem(response, 409)
        assert b"secret" not in response.content


class TestAKeyForCertainNames:
    def test_submits_these_only(self, caller: Caller) -> None:
        client = caller("producer", "image.*")
        submit(client, name="image.resize")
        assert_problem(client.post("/api/v1/tasks", {"name": "tag"}, format="json"), 403)

    def test_submits_an_array_only_if_all_are(self, caller: Caller) -> None:
        client = caller("operator", "image.*")
        tasks = [{"name": "image.resize"}, {"name": "tag"}]
        problem = assert_problem(client.post("/api/v1/tasks", tasks, format="json"), 403)
        assert "tag" in problem["detail"]
        assert client.get("/api/v1/tasks").json()["results"] == []

    def test_reads_these_only(self, caller: Caller, operator: APIClient) -> None:
        image, tag = submit(operator, name="image.resize"), submit(operator)
        client = caller("operator", "image.*")
        assert [task["id"] for task in client.get("/api/v1/tasks").json()["results"]] == [image]
        assert_problem(client.get(f"/api/v1/tasks/{tag}"), 404)
        assert [queue["name"] for queue in client.get("/api/v1/queues").json()["results"]] == ["image.resize"]
        assert_problem(client.get("/api/v1/queues/tag"), 403)
        assert_problem(client.get("/api/v1/queues/unheard-of"), 403)

    def test_sees_of_workers_what_concerns_these(self, caller: Caller) -> None:
        both, _ = attached("image.resize", "tag"), attached("tag")
        (seen,) = caller("producer", "image.*").get("/api/v1/workers").json()["results"]
        assert seen["id"] == str(both.id)
        assert [subscription["name"] for subscription in seen["subscriptions"]] == ["image.resize"]

    def test_does_not_steer_a_worker_that_performs_others_too(self, caller: Caller) -> None:
        both, one = attached("image.resize", "tag"), attached("image.resize")
        client = caller("operator", "image.*")
        assert_problem(client.post(f"/api/v1/workers/{both.id}/drain"), 403)
        assert client.post(f"/api/v1/workers/{one.id}/drain").status_code == 200


class TestAnAdminUser:
    def test_who_is_a_superuser_may_do_what_an_operator_may(
        self, admin_user_client: Callable[..., APIClient], producer: APIClient
    ) -> None:
        task_id = submit(producer)
        client = admin_user_client(is_staff=True, is_superuser=True)
        assert client.get(f"/api/v1/tasks/{task_id}").status_code == 200
        paused = client.post("/api/v1/queues/tag/pause").json()
        assert paused["paused_by"] == "ada"
        submit(client)

    @pytest.mark.parametrize("flags", [{}, {"is_superuser": True}], ids=["nothing", "superuser"])
    def test_must_be_staff_as_in_the_admin(
        self, admin_user_client: Callable[..., APIClient], flags: dict[str, bool]
    ) -> None:
        assert_problem(admin_user_client(**flags).get("/api/v1/tasks"), 403)

    def test_is_told_the_permission_that_is_missing(self, admin_user_client: Callable[..., APIClient]) -> None:
        problem = assert_problem(admin_user_client(is_staff=True).get("/api/v1/queues"), 403)
        assert problem["detail"] == "This takes the permission to view queues."

    def test_is_protected_from_other_sites(self, db: Any) -> None:
        user = get_user_model().objects.create_superuser("eve", password="x")
        client = APIClient(enforce_csrf_checks=True)
        client.force_login(user)
        assert_problem(client.post("/api/v1/tasks", {"name": "tag"}, format="json"), 403)
