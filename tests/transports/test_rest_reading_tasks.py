"""GET /tasks, /tasks/{id}, /tasks/{id}/attempts."""

from __future__ import annotations

import base64
from collections.abc import Callable
from urllib.parse import quote
from uuid import UUID

import pytest
from rest_framework.test import APIClient

from queueapp import database, lifecycle
from queueapp.models import Attempt
from tests.transports.conftest import assert_problem, assign, attached, finish, ids, submit

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("either_way")]

TASKS = "/api/v1/tasks"


def encoded(cursor: bytes) -> str:
    return quote(base64.b64encode(cursor))


def listed(client: APIClient, query: str = "") -> list[str]:
    response = client.get(f"{TASKS}?{query}")
    assert response.status_code == 200, response.json()
    return ids(response.json()["results"])


class TestTheFilters:
    def test_by_state(self, producer: APIClient) -> None:
        pending, cancelled = submit(producer), submit(producer)
        producer.post(f"{TASKS}/{cancelled}/cancel")
        assert listed(producer, "state=pending") == [pending]
        assert listed(producer, "state=cancelled") == [cancelled]
        assert listed(producer, "state=pending,cancelled") == [cancelled, pending]
        assert listed(producer, "state=pending&state=cancelled") == [cancelled, pending]

    def test_by_name(self, producer: APIClient) -> None:
        tag, collect = submit(producer, name="tag"), submit(producer, name="collect")
        submit(producer, name="other")
        assert listed(producer, "name=tag") == [tag]
        assert listed(producer, "name=tag,collect") == [collect, tag]
        assert listed(producer, "name=tag&name=collect") == [collect, tag]

    def test_by_attribute(self, producer: APIClient) -> None:
        aws = submit(producer, attrs={"cloud": "aws", "1": "x"})
        submit(producer, attrs={"cloud": "gcp"})
        assert listed(producer, "attr.cloud=aws") == [aws]
        assert listed(producer, "attr.cloud=aws&attr.1=x") == [aws]
        assert listed(producer, "attr.cloud=aws&attr.1=y") == []

    def test_by_tag(self, producer: APIClient) -> None:
        both, one = submit(producer, tags=["a", "b"]), submit(producer, tags=["a"])
        submit(producer)
        assert listed(producer, "tag=a") == [one, both]
        assert listed(producer, "tag=a&tag=b") == [both]

    def test_by_worker(self, producer: APIClient) -> None:
        worker = attached("tag")
        held, ended, returned = submit(producer), submit(producer), submit(producer)
        for task_id in (held, ended, returned):
            assign(task_id, worker)
        finish(ended, worker)
        lifecycle.release([(worker.id, UUID(returned))], database.now())
        assert listed(producer, f"worker={worker.id}") == [ended, held]

    def test_by_time(self, producer: APIClient) -> None:
        first, second = submit(producer), submit(producer)
        moment = producer.get(f"{TASKS}/{second}").json()["created_at"]
        assert listed(producer, f"created_after={moment}") == [second]
        assert listed(producer, f"created_before={moment}") == [first]
        assert listed(producer, "created_after=2020-01-01T00:00:00+00:00") == [second, first]

    def test_together(self, producer: APIClient) -> None:
        wanted = submit(producer, attrs={"cloud": "aws"}, tags=["a"])
        submit(producer, attrs={"cloud": "aws"})
        submit(producer, tags=["a"])
        assert listed(producer, "attr.cloud=aws&tag=a&state=pending&name=tag") == [wanted]

    @pytest.mark.parametrize(
        "query",
        [
            "colour=red",
            "state=",
            "state=done",
            "name=no%20name",
            "worker=7",
            "created_after=yesterday",
            "created_after=2020-01-01T00:00:00",
            "created_before=9999-12-31T23:59:59-23:59",
            "attr.=x",
            "attr.cloud=%00",
            "tag=%00",
            "limit=0",
            "limit=501",
            "limit=x",
        ],
    )
    def test_that_cannot_be_used_are_400(self, producer: APIClient, query: str) -> None:
        (error,) = assert_problem(producer.get(f"{TASKS}?{query}"), 400)["errors"]
        assert error["pointer"] == "/" + query.split("=")[0]

    def test_that_nobody_knows_are_answered_with_those_known(self, producer: APIClient) -> None:
        (error,) = assert_problem(producer.get(f"{TASKS}?colour=red"), 400)["errors"]
        for known in ("state", "name", "attr.<criterion>", "worker", "created_after", "tag", "cursor"):
            assert known in error["message"]


class TestThePages:
    def test_go_from_the_newest_to_the_oldest_and_back(self, producer: APIClient) -> None:
        newest_first = [submit(producer) for _ in range(5)][::-1]
        first = producer.get(f"{TASKS}?limit=2&name=tag").json()
        second = producer.get(first["next"]).json()
        third = producer.get(second["next"]).json()
        assert ids(first["results"] + second["results"] + third["results"]) == newest_first
        assert first["previous"] is None
        assert third["next"] is None
        assert ids(producer.get(third["previous"]).json()["results"]) == ids(second["results"])

    def test_are_not_shifted_by_new_tasks(self, producer: APIClient) -> None:
        older = [submit(producer) for _ in range(4)][::-1]
        first = producer.get(f"{TASKS}?limit=2").json()
        submit(producer)
        assert ids(producer.get(first["next"]).json()["results"]) == older[2:]

    @pytest.mark.parametrize("cursor", ["x", "%FF", encoded(b"p=%00"), encoded(b"o=-1"), encoded(b"\xff")])
    @pytest.mark.parametrize("path", [TASKS, "/api/v1/queues", "/api/v1/workers"])
    def test_have_no_other_cursors(self, producer: APIClient, path: str, cursor: str) -> None:
        submit(producer)
        assert_problem(producer.get(f"{path}?cursor={cursor}"), 404)

    @pytest.mark.parametrize("path", [TASKS, "/api/v1/workers"])
    def test_do_not_begin_at_what_is_no_id(self, producer: APIClient, path: str) -> None:
        assert_problem(producer.get(f"{path}?cursor={encoded(b'p=garbage')}"), 404)


class TestATask:
    def test_tells_its_holder_while_it_is_assigned(self, producer: APIClient) -> None:
        task_id, worker = submit(producer), attached("tag")
        assign(task_id, worker)
        task = producer.get(f"{TASKS}/{task_id}").json()
        assert (task["state"], task["worker"], task["attempt"]) == ("assigned", str(worker.id), 1)
        assert task["deadline"] > task["assigned_at"]

    def test_tells_its_result_and_who_made_it(self, producer: APIClient) -> None:
        task_id, worker = submit(producer), attached("tag")
        assign(task_id, worker)
        finish(task_id, worker, payload='{"n":1}')
        task = producer.get(f"{TASKS}/{task_id}").json()
        assert (task["state"], task["result"], task["worker"]) == ("succeeded", {"n": 1}, str(worker.id))
        assert task["finished_at"] is not None

    def test_tells_why_it_failed(self, producer: APIClient) -> None:
        task_id, worker = submit(producer), attached("tag")
        assign(task_id, worker)
        finish(task_id, worker, done=False, error="no such image")
        task = producer.get(f"{TASKS}/{task_id}").json()
        assert (task["state"], task["reason"], task["error"]) == ("failed", "error", "no such image")

    def test_tells_its_progress(self, producer: APIClient) -> None:
        task_id, worker = submit(producer), attached("tag")
        assign(task_id, worker)
        sign = lifecycle.SignOfLife(worker.id, UUID(task_id), progress=0.5, message="half")
        lifecycle.prolong([sign], database.now())
        task = producer.get(f"{TASKS}/{task_id}").json()
        assert (task["progress"], task["progress_message"]) == (0.5, "half")

    def test_belongs_to_nobody_once_given_back(self, producer: APIClient) -> None:
        task_id, worker = submit(producer), attached("tag")
        assign(task_id, worker)
        lifecycle.release([(worker.id, UUID(task_id))], database.now())
        assert producer.get(f"{TASKS}/{task_id}").json()["worker"] is None

    @pytest.mark.parametrize("wait", ["-1", "soon", "nan", "inf", ""])
    def test_is_not_waited_for_nonsense(self, producer: APIClient, wait: str) -> None:
        assert_problem(producer.get(f"{TASKS}/{submit(producer)}?wait={wait}"), 400)


class TestTheAttempts:
    @pytest.fixture
    def attempts(self, producer: APIClient) -> Callable[[str, str], list[dict[str, object]]]:
        def read(task_id: str, query: str = "") -> list[dict[str, object]]:
            response = producer.get(f"{TASKS}/{task_id}/attempts{query}")
            assert response.status_code == 200
            return response.json()["results"]

        return read

    def test_are_none_before_the_first(self, producer: APIClient, attempts: Callable[..., list]) -> None:
        assert attempts(submit(producer)) == []

    def test_include_the_running_one(self, producer: APIClient, attempts: Callable[..., list]) -> None:
        task_id, worker = submit(producer), attached("tag")
        assign(task_id, worker)
        (attempt,) = attempts(task_id)
        assert attempt.keys() == {"number", "worker", "outcome", "assigned_at", "ended_at", "error"}
        assert (attempt["number"], attempt["worker"]) == (1, str(worker.id))
        assert attempt["outcome"] is attempt["ended_at"] is attempt["error"] is None

    def test_include_a_plain_first_done(self, producer: APIClient, attempts: Callable[..., list]) -> None:
        task_id, worker = submit(producer), attached("tag")
        assign(task_id, worker)
        finish(task_id, worker)
        assert not Attempt.objects.exists()
        (attempt,) = attempts(task_id)
        assert (attempt["number"], attempt["outcome"]) == (1, "done")
        assert attempt["ended_at"] >= attempt["assigned_at"]

    def test_come_in_their_order(self, producer: APIClient, attempts: Callable[..., list]) -> None:
        task_id, worker = submit(producer, retry_on=["error"], backoff={"initial": 0}), attached("tag")
        assign(task_id, worker)
        finish(task_id, worker, done=False, error="first")
        assign(task_id, worker)
        lifecycle.release([(worker.id, UUID(task_id))], database.now())
        assign(task_id, worker)
        assert [(a["number"], a["outcome"], a["error"]) for a in attempts(task_id)] == [
            (1, "error", "first"),
            (2, "released", None),
            (3, None, None),
        ]
        finish(task_id, worker)
        assert [a["outcome"] for a in attempts(task_id)] == ["error", "released", "done"]

    def test_come_in_pages_too(self, producer: APIClient) -> None:
        task_id, worker = submit(producer), attached("tag")
        for _ in range(2):
            assign(task_id, worker)
            lifecycle.release([(worker.id, UUID(task_id))], database.now())
        assign(task_id, worker)
        first = producer.get(f"{TASKS}/{task_id}/attempts?limit=1").json()
        second = producer.get(first["next"]).json()
        assert [a["number"] for a in first["results"] + second["results"]] == [1, 2, 3]
        assert second["next"] is None
