"""Cancel and retry; workers and queues; what is outstanding."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from rest_framework.test import APIClient

from queueapp.models import ApiKey, Queue
from tests.transports.conftest import Caller, assert_problem, assign, attached, finish, ids, state_of, submit

pytestmark = pytest.mark.django_db

NOBODY = "00000000-0000-0000-0000-000000000000"


class TestCancel:
    def test_ends_a_pending_task(self, producer: APIClient) -> None:
        task_id = submit(producer)
        response = producer.post(f"/api/v1/tasks/{task_id}/cancel")
        assert response.status_code == 200
        assert (response.json()["id"], response.json()["state"]) == (task_id, "cancelled")

    def test_ends_an_assigned_task(self, producer: APIClient) -> None:
        task_id, worker = submit(producer), attached("tag")
        assign(task_id, worker)
        task = producer.post(f"/api/v1/tasks/{task_id}/cancel").json()
        assert (task["state"], task["worker"]) == ("cancelled", str(worker.id))

    def test_is_forbidden_after_the_end(self, producer: APIClient) -> None:
        task_id = submit(producer)
        producer.post(f"/api/v1/tasks/{task_id}/cancel")
        problem = assert_problem(producer.post(f"/api/v1/tasks/{task_id}/cancel"), 409)
        assert problem["type"] == "urn:workqueue:problem:state-forbids"

    def test_of_nothing_is_404(self, producer: APIClient) -> None:
        assert_problem(producer.post(f"/api/v1/tasks/{NOBODY}/cancel"), 404)


class TestRetry:
    def test_makes_an_ended_task_pending(self, producer: APIClient) -> None:
        task_id, worker = submit(producer), attached("tag")
        assign(task_id, worker)
        finish(task_id, worker, done=False, error="x")
        task = producer.post(f"/api/v1/tasks/{task_id}/retry").json()
        assert (task["state"], task["error"], task["attempt"]) == ("pending", None, 1)

    def test_is_forbidden_before_the_end(self, producer: APIClient) -> None:
        task_id = submit(producer)
        assert_problem(producer.post(f"/api/v1/tasks/{task_id}/retry"), 409)
        assert state_of(task_id) == "pending"

    def test_is_forbidden_while_a_live_task_has_the_unique_key(self, producer: APIClient) -> None:
        ended = submit(producer, unique_key="k")
        producer.post(f"/api/v1/tasks/{ended}/cancel")
        submit(producer, unique_key="k")
        problem = assert_problem(producer.post(f"/api/v1/tasks/{ended}/retry"), 409)
        assert "unique_key" in problem["detail"]


class TestWorkers:
    def test_read_as_the_contract_says(self, operator: APIClient) -> None:
        worker = attached("tag", extra='{"info":"a rack"}', label="box 7")
        assign(submit(operator), worker)
        (document,) = operator.get("/api/v1/workers").json()["results"]
        assert document.pop("connected_at").endswith("Z")
        assert document.pop("node")
        assert document == {
            "id": str(worker.id),
            "name": "box 7",
            "state": "online",
            "subscriptions": [{"info": "a rack", "name": "tag", "filter": {}}],
            "outstanding": 1,
            "max_outstanding": 10,
            "gone_at": None,
            "version": "",
        }

    def test_show_what_they_added_to_operators_only(self, producer: APIClient) -> None:
        attached("tag", extra='{"info":"a rack"}')
        (document,) = producer.get("/api/v1/workers").json()["results"]
        assert document["subscriptions"] == [{"name": "tag", "filter": {}}]

    def test_are_listed_while_attached(self, operator: APIClient) -> None:
        gone, draining, online = attached("tag"), attached("tag"), attached("tag")
        operator.post(f"/api/v1/workers/{gone.id}/disconnect")
        operator.post(f"/api/v1/workers/{draining.id}/drain")
        path = "/api/v1/workers"
        assert ids(operator.get(path).json()["results"]) == [str(online.id), str(draining.id)]
        assert ids(operator.get(f"{path}?state=gone").json()["results"]) == [str(gone.id)]
        assert len(operator.get(f"{path}?state=online,gone").json()["results"]) == 2
        assert len(operator.get(f"{path}?state=online&state=gone").json()["results"]) == 2
        assert operator.get(f"{path}/{gone.id}").json()["gone_at"] is not None

    @pytest.mark.parametrize("query", ["state=busy", "colour=red"])
    def test_are_not_found_by_nonsense(self, operator: APIClient, query: str) -> None:
        assert_problem(operator.get(f"/api/v1/workers?{query}"), 400)

    def test_drain(self, operator: APIClient) -> None:
        worker = attached("tag")
        response = operator.post(f"/api/v1/workers/{worker.id}/drain")
        assert (response.status_code, response.json()["state"]) == (200, "draining")
        assert operator.post(f"/api/v1/workers/{worker.id}/drain").status_code == 200

    def test_disconnect_and_give_their_tasks_back(self, operator: APIClient) -> None:
        worker, task_id = attached("tag"), submit(operator)
        assign(task_id, worker)
        response = operator.post(f"/api/v1/workers/{worker.id}/disconnect")
        assert (response.status_code, response.json()["state"]) == (200, "gone")
        assert state_of(task_id) == "pending"

    @pytest.mark.parametrize("verb", ["drain", "disconnect"])
    def test_cannot_be_steered_once_gone(self, operator: APIClient, verb: str) -> None:
        worker = attached("tag")
        operator.post(f"/api/v1/workers/{worker.id}/disconnect")
        assert_problem(operator.post(f"/api/v1/workers/{worker.id}/{verb}"), 409)

    @pytest.mark.parametrize("path", ["", "/drain", "/disconnect"])
    def test_that_never_were_are_404(self, operator: APIClient, path: str) -> None:
        ask: Callable[[str], object] = operator.post if path else operator.get
        assert_problem(ask(f"/api/v1/workers/{NOBODY}{path}"), 404)


class TestQueues:
    def test_read_as_the_contract_says(self, operator: APIClient) -> None:
        worker = attached("tag", "tag")
        done, _, _ = submit(operator), submit(operator), submit(operator, delay=60)
        assign(done, worker)
        finish(done, worker)
        queue = operator.get("/api/v1/queues/tag").json()
        assert queue.pop("oldest_pending_seconds") >= 0
        assert queue.pop("rates") == {"submitted": 3 / 60, "finished": 1 / 60}
        assert queue == {
            "name": "tag",
            "paused": False,
            "paused_by": None,
            "paused_at": None,
            "note": "",
            "counts": {"pending": 2, "assigned": 0, "succeeded": 1, "failed": 0, "cancelled": 0, "expired": 0},
            "workers": 1,
            "timeout": None,
            "max_attempts": None,
            "spill_after": None,
            "concurrency": None,
            "concurrency_per_key": None,
        }

    def test_have_no_oldest_task_when_none_waits(self, operator: APIClient) -> None:
        submit(operator, delay=60)
        assert operator.get("/api/v1/queues/tag").json()["oldest_pending_seconds"] is None

    def test_are_listed_by_name(self, operator: APIClient) -> None:
        for name in ("b", "c", "a"):
            submit(operator, name=name)
        first = operator.get("/api/v1/queues?limit=2").json()
        second = operator.get(first["next"]).json()
        assert [queue["name"] for queue in first["results"] + second["results"]] == ["a", "b", "c"]

    def test_are_counted_in_a_few_queries_however_many(
        self, operator: APIClient, django_assert_max_num_queries: Callable
    ) -> None:
        for number in range(20):
            submit(operator, name=f"n{number}")
        with django_assert_max_num_queries(6):
            operator.get("/api/v1/queues")

    def test_pause_and_resume(self, operator: APIClient) -> None:
        submit(operator)
        paused = operator.post("/api/v1/queues/tag/pause", {"note": "the disk is full"}, format="json").json()
        key = ApiKey.objects.get()
        assert (paused["paused"], paused["note"], paused["paused_by"]) == (True, "the disk is full", str(key))
        resumed = operator.post("/api/v1/queues/tag/resume").json()
        assert (resumed["paused"], resumed["note"], resumed["paused_by"]) == (False, "", None)

    def test_pause_twice_alike(self, operator: APIClient) -> None:
        submit(operator)
        first = operator.post("/api/v1/queues/tag/pause")
        second = operator.post("/api/v1/queues/tag/pause")
        assert (first.status_code, second.status_code) == (200, 200)
        assert second.json()["paused_at"] == first.json()["paused_at"]

    @pytest.mark.parametrize("body", [[], {"why": "x"}, {"note": 7}, {"note": "x" * 2000}])
    def test_do_not_pause_for_nonsense(self, operator: APIClient, body: object) -> None:
        submit(operator)
        assert_problem(operator.post("/api/v1/queues/tag/pause", body, format="json"), 400)
        assert not operator.get("/api/v1/queues/tag").json()["paused"]

    @pytest.mark.parametrize(
        ("name", "path"),
        [
            ("nothing", ""),
            ("nothing", "/resume"),
            *[(name, path) for name in ("no%20name", "%00", "x" * 201) for path in ("", "/pause", "/resume")],
        ],
    )
    def test_that_never_were_are_404(self, operator: APIClient, name: str, path: str) -> None:
        ask: Callable[[str], object] = operator.post if path else operator.get
        assert_problem(ask(f"/api/v1/queues/{name}{path}"), 404)
        assert not Queue.objects.exists()

    def test_are_paused_before_their_first_task(self, operator: APIClient) -> None:
        paused = operator.post("/api/v1/queues/tag/pause")
        assert (paused.status_code, paused.json()["paused"]) == (200, True)
        submit(operator)
        assert operator.get("/api/v1/queues/tag").json()["paused"]

    def test_are_not_made_by_who_may_not_touch_the_name(self, caller: Caller) -> None:
        operator = caller("operator", "image.*")
        assert_problem(operator.post("/api/v1/queues/tag/pause"), 403)
        assert_problem(operator.patch("/api/v1/queues/tag", {"concurrency": 1}, format="json"), 403)
        assert not Queue.objects.exists()


class TestTheWorkList:
    def test_shows_what_is_outstanding(self, operator: APIClient) -> None:
        worker = attached("tag")
        task_id = submit(operator, attrs={"cloud": "aws"}, data=[1])
        submit(operator)
        assign(task_id, worker)
        (entry,) = operator.get("/work/list").json()
        assert entry.pop("deadline").endswith("Z")
        assert entry == {
            "task": {"task_id": task_id, "task_name": "tag", "data": [1], "attrs": {"cloud": "aws"}},
            "worker": str(worker.id),
            "retry_counter": 0,
        }

    def test_counts_the_retries(self, operator: APIClient) -> None:
        lost, task_id = attached("tag"), submit(operator)
        assign(task_id, lost)
        operator.post(f"/api/v1/workers/{lost.id}/disconnect")
        assign(task_id, attached("tag"))
        (entry,) = operator.get("/work/list").json()
        assert entry["retry_counter"] == 1

    def test_is_empty_without_work(self, operator: APIClient) -> None:
        assert operator.get("/work/list").json() == []
