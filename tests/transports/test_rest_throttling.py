"""How many requests a key may make."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from rest_framework.test import APIClient

from queueapp.domain.rates import Rate
from tests.transports.conftest import Caller, assert_problem, submit

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("either_way")]


def throttle(settings: Any, rate: str) -> None:
    settings.WORKQUEUE = replace(settings.WORKQUEUE, throttle=Rate(rate))


class TestAKey:
    def test_that_asks_too_often_is_told_when_to_come_again(self, producer: APIClient, settings: Any) -> None:
        throttle(settings, "2/h")
        assert [producer.get("/api/v1/queues").status_code for _ in range(2)] == [200, 200]
        response = producer.get("/api/v1/tasks")
        assert_problem(response, 429)
        assert 1790 <= int(response["Retry-After"]) <= 1800

    def test_does_not_use_up_what_another_has(self, caller: Caller, settings: Any) -> None:
        throttle(settings, "1/h")
        one, other = caller("producer"), caller("producer")
        submit(one)
        assert_problem(one.post("/api/v1/tasks", {"name": "tag"}, format="json"), 429)
        submit(other)

    def test_asks_as_often_as_it_likes_without_the_setting(self, producer: APIClient) -> None:
        assert {producer.get("/api/v1/queues").status_code for _ in range(50)} == {200}

    def test_spends_one_request_on_a_submission_that_waits(self, producer: APIClient, settings: Any) -> None:
        throttle(settings, "2/h")
        for _ in range(2):
            response = producer.post("/api/v1/tasks", {"name": "tag"}, format="json", HTTP_PREFER="wait=0.01")
            assert response.status_code == 201, response.content
        assert_problem(producer.get("/api/v1/queues"), 429)

    def test_spends_one_request_on_a_task_that_it_waits_for(self, producer: APIClient, settings: Any) -> None:
        task_id = submit(producer)
        throttle(settings, "2/h")
        for _ in range(2):
            assert producer.get(f"/api/v1/tasks/{task_id}?wait=0.01").status_code == 200
        assert_problem(producer.get("/api/v1/queues"), 429)


def test_a_wrong_key_is_401_however_often(settings: Any) -> None:
    throttle(settings, "1/h")
    for _ in range(3):
        assert_problem(APIClient().get("/api/v1/tasks", HTTP_AUTHORIZATION="Bearer wq_nobody"), 401)


def test_an_admin_user_is_not_counted(admin_user_client: Any, settings: Any) -> None:
    throttle(settings, "1/h")
    client = admin_user_client(is_staff=True, is_superuser=True)
    assert {client.get("/api/v1/tasks").status_code for _ in range(3)} == {200}
