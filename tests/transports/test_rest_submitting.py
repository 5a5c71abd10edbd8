"""POST /tasks."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings as project_settings
from rest_framework.test import APIClient

from queueapp.models import Task
from tests.transports.conftest import assert_problem, submit

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("either_way")]

TASKS = "/api/v1/tasks"
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def post(client: APIClient, body: Any, **headers: str) -> Any:
    return client.post(TASKS, body, format="json", headers=headers)


def post_raw(client: APIClient, body: bytes | str, content_type: str = "application/json") -> Any:
    return client.generic("POST", TASKS, body, content_type=content_type)


class TestOneTask:
    def test_is_answered_as_it_is_stored(self, producer: APIClient) -> None:
        response = post(
            producer,
            {
                "name": "tag",
                "attrs": {"cloud": "aws"},
                "data": {"n": [1, None, "ü"]},
                "priority": 7,
                "timeout": 12.5,
                "max_attempts": 2,
                "unique_key": "k",
                "tags": ["nightly"],
                "expires_in": 60,
            },
        )
        assert response.status_code == 201
        task = response.json()
        assert UUID(task["id"]).version == 7
        assert response["Location"] == f"{TASKS}/{task['id']}"
        assert producer.get(response["Location"]).json() == task
        for field in ("created_at", "available_at", "expires_at"):
            assert task.pop(field).endswith("Z")
        assert task == {
            "id": task["id"],
            "name": "tag",
            "attrs": {"cloud": "aws"},
            "data": {"n": [1, None, "ü"]},
            "state": "pending",
            "reason": None,
            "result": None,
            "error": None,
            "priority": 7,
            "attempt": 0,
            "max_attempts": 2,
            "worker": None,
            "progress": None,
            "progress_message": None,
            "timeout": 12.5,
            "spill_after": None,
            "assigned_at": None,
            "deadline": None,
            "finished_at": None,
            "unique_key": "k",
            "concurrency_key": None,
            "tags": ["nightly"],
            "traceparent": None,
            "callback_url": None,
        }

    def test_needs_only_a_name(self, producer: APIClient) -> None:
        task = post(producer, {"name": "tag"}).json()
        assert (task["priority"], repr(task["timeout"]), task["max_attempts"]) == (0, "300", 4)
        assert task["data"] is None

    def test_may_wait(self, producer: APIClient) -> None:
        task = post(producer, {"name": "tag", "delay": 60}).json()
        created, available = (datetime.fromisoformat(task[f]) for f in ("created_at", "available_at"))
        assert (available - created).total_seconds() == pytest.approx(60)

    def test_keeps_its_trace(self, producer: APIClient) -> None:
        assert post(producer, {"name": "tag"}, traceparent=TRACEPARENT).json()["traceparent"] == TRACEPARENT

    def test_ignores_a_malformed_trace(self, producer: APIClient) -> None:
        assert post(producer, {"name": "tag"}, traceparent="x" * 200).json()["traceparent"] is None


class TestAUniqueKey:
    def test_answers_the_first_again(self, producer: APIClient) -> None:
        first = post(producer, {"name": "tag", "unique_key": "k"})
        second = post(producer, {"name": "tag", "unique_key": "k", "priority": 5})
        assert (first.status_code, second.status_code) == (201, 200)
        assert second.json() == first.json()

    def test_is_free_again_once_its_task_has_ended(self, producer: APIClient) -> None:
        first = submit(producer, unique_key="k")
        producer.post(f"{TASKS}/{first}/cancel")
        assert submit(producer, unique_key="k") != first

    def test_works_within_an_array(self, producer: APIClient) -> None:
        response = post(producer, [{"name": "tag", "unique_key": "k"}] * 2)
        assert response.status_code == 201
        first, second = response.json()["ids"]
        assert first == second
        assert Task.objects.count() == 1


class TestAnArray:
    def test_is_answered_with_ids_in_its_order(self, producer: APIClient) -> None:
        response = post(producer, [{"name": "tag", "data": n} for n in range(5)])
        assert response.status_code == 201
        answer = response.json()
        assert answer["count"] == 5
        read = [producer.get(f"{TASKS}/{task_id}").json()["data"] for task_id in answer["ids"]]
        assert read == [0, 1, 2, 3, 4]

    def test_is_stored_whole_or_not_at_all(self, producer: APIClient) -> None:
        response = post(producer, [{"name": "tag"}, {"name": "no name"}, 7, {"name": "tag", "priority": 1000}])
        errors = assert_problem(response, 400)["errors"]
        assert [(error["index"], error["pointer"]) for error in errors] == [
            (1, "/name"),
            (2, ""),
            (3, "/priority"),
        ]
        assert not Task.objects.exists()

    def test_may_have_ten_thousand_tasks(self, producer: APIClient) -> None:
        answer = post(producer, [{"name": "tag", "data": n} for n in range(10_000)])
        assert answer.status_code == 201
        assert (answer.json()["count"], len(set(answer.json()["ids"]))) == (10_000, 10_000)
        assert Task.objects.count() == 10_000
        assert_problem(post(producer, [{"name": "tag"}] * 10_001), 413)
        assert Task.objects.count() == 10_000

    def test_of_ten_thousand_is_refused_for_two_and_tells_which(self, producer: APIClient) -> None:
        tasks: list[dict[str, Any]] = [{"name": "tag"} for _ in range(10_000)]
        tasks[1234] = {"name": "tag", "priority": 101}
        tasks[9999] = {"name": "tag", "attrs": {"cloud": 7}, "dleay": 1}
        errors = assert_problem(post(producer, tasks), 400)["errors"]
        assert [(error["index"], error["pointer"]) for error in errors] == [
            (1234, "/priority"),
            (9999, "/attrs"),
            (9999, "/dleay"),
        ]
        assert not Task.objects.exists()

    def test_must_hold_something(self, producer: APIClient) -> None:
        assert_problem(post(producer, []), 400)

    def test_has_a_limit(self, producer: APIClient, settings: Any) -> None:
        settings.WORKQUEUE = replace(project_settings.WORKQUEUE, bulk_limit=2)
        assert post(producer, [{"name": "tag"}] * 2).status_code == 201
        assert_problem(post(producer, [{"name": "tag"}] * 3), 413)


class TestABadSubmission:
    def test_is_told_of_every_wrong_field(self, producer: APIClient) -> None:
        problem = assert_problem(post(producer, {"priority": "high", "a/b": 1}), 400)
        assert {error["pointer"] for error in problem["errors"]} == {"/name", "/priority", "/a~1b"}
        assert all(error["message"] for error in problem["errors"])
        assert problem["type"] == "urn:workqueue:problem:invalid-submission"

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"{",
            b"null",
            b'"tag"',
            b'{"name": "tag", "data": NaN}',
            b'{"name": "tag", "data": 1e999}',
            b'{"name": "tag", "data": "\\u0000"}',
            b'{"name": "tag", "data": "\\ud800"}',
            b'{"name": "tag\xff"}',
            b'{"name": "tag", "data": ' + b"[" * 100 + b"]" * 100 + b"}",
            b"[" * 100_000,
            b'{"name": "tag", "data": ' + b"1" * 5000 + b"}",
        ],
    )
    def test_is_400_whatever_is_wrong(self, producer: APIClient, body: bytes) -> None:
        assert_problem(post_raw(producer, body), 400)
        assert not Task.objects.exists()

    @pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
    def test_is_415_when_it_does_not_say_json(self, producer: APIClient, content_type: str) -> None:
        assert_problem(post_raw(producer, b'{"name": "tag"}', content_type), 415)

    def test_is_413_when_the_body_is_too_large(self, producer: APIClient, settings: Any) -> None:
        settings.WORKQUEUE = replace(project_settings.WORKQUEUE, body_limit_bytes=1000)
        body = json.dumps({"name": "tag", "data": "x" * 1000})
        assert_problem(post_raw(producer, body), 413)
        fits = json.dumps({"name": "tag"}).ljust(1000)
        assert post_raw(producer, fits).status_code == 201

    def test_is_400_with_a_parameter(self, producer: APIClient) -> None:
        response = producer.post(f"{TASKS}?dry_run=1", {"name": "tag"}, format="json")
        assert_problem(response, 400)
        assert not Task.objects.exists()


def test_a_charset_may_be_said(producer: APIClient) -> None:
    response = post_raw(producer, b'{"name": "tag"}', "application/json; charset=utf-8")
    assert response.status_code == 201
