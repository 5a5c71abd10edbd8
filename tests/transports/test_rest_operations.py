"""POST /tasks/cancel and /tasks/retry, and the operations that they begin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from rest_framework.test import APIClient

from queueapp import operations
from queueapp.models import Operation
from tests.integration import rows
from tests.transports.conftest import Caller, assert_problem, assign, attached, finish, ids, state_of, submit

pytestmark = pytest.mark.django_db

NOBODY = "00000000-0000-0000-0000-000000000000"
OPERATIONS = "/api/v1/operations"


def ask(client: APIClient, action: str, body: Any) -> Any:
    return client.post(f"/api/v1/tasks/{action}", body, format="json")


def begin(client: APIClient, action: str, **filters: Any) -> dict[str, Any]:
    response = ask(client, action, filters)
    assert response.status_code == 202, response.json()
    return response.json()


def end(client: APIClient, operation: dict[str, Any]) -> dict[str, Any]:
    """Carried out, as the server's own thread does it."""
    rows.carry_out(UUID(operation["id"]))
    return client.get(f"{OPERATIONS}/{operation['id']}").json()


def carry_out(client: APIClient, action: str, **filters: Any) -> dict[str, Any]:
    return end(client, begin(client, action, **filters))


class TestAnOperation:
    def test_reads_as_the_contract_says(self, producer: APIClient) -> None:
        for _ in range(3):
            submit(producer)
        response = ask(producer, "cancel", {"name": "tag"})
        begun = response.json()
        assert response["Location"] == f"{OPERATIONS}/{begun['id']}"
        assert producer.get(response["Location"]).json() == begun
        assert begun.pop("created_at").endswith("Z")
        assert begun == {
            "id": begun["id"],
            "action": "cancel",
            "state": "running",
            "filter": {"name": "tag"},
            "total": 3,
            "done": 0,
            "unchanged": 0,
            "asked_by": begun["asked_by"],
            "finished_at": None,
        }
        assert begun["asked_by"].startswith("a producer (wq_")

    def test_is_done_when_all_its_tasks_are(self, producer: APIClient) -> None:
        tasks = [submit(producer) for _ in range(3)]
        ended = carry_out(producer, "cancel", name="tag")
        assert (ended["state"], ended["total"], ended["done"], ended["unchanged"]) == ("done", 3, 3, 0)
        assert ended["finished_at"].endswith("Z")
        assert {state_of(task_id) for task_id in tasks} == {"cancelled"}

    def test_of_no_task_is_done_too(self, producer: APIClient) -> None:
        ended = carry_out(producer, "cancel", name="nothing")
        assert (ended["state"], ended["total"], ended["done"]) == ("done", 0, 0)

    def test_retries_what_has_ended(self, producer: APIClient) -> None:
        live, cancelled = submit(producer), submit(producer)
        producer.post(f"/api/v1/tasks/{cancelled}/cancel")
        ended = carry_out(producer, "retry", name="tag")
        assert (ended["action"], ended["total"], ended["done"]) == ("retry", 1, 1)
        assert (state_of(live), state_of(cancelled)) == ("pending", "pending")

    def test_tells_how_many_could_not_be_changed(self, producer: APIClient) -> None:
        old = submit(producer, unique_key="k")
        producer.post(f"/api/v1/tasks/{old}/cancel")
        submit(producer, unique_key="k")
        ended = carry_out(producer, "retry", name="tag")
        assert (ended["total"], ended["done"], ended["unchanged"]) == (1, 1, 1)
        assert state_of(old) == "cancelled"


class TestAFilter:
    """The same as of GET /tasks, in the body."""

    @pytest.fixture
    def tasks(self, producer: APIClient) -> dict[str, str]:
        return {
            "plain": submit(producer),
            "other": submit(producer, name="other"),
            "aws": submit(producer, attrs={"cloud": "aws"}),
            "nightly": submit(producer, tags=["nightly"]),
        }

    @pytest.mark.parametrize(
        ("filters", "selected"),
        [
            ({"all": True}, {"plain", "other", "aws", "nightly"}),
            ({"name": "other"}, {"other"}),
            ({"name": "other,tag"}, {"plain", "other", "aws", "nightly"}),
            ({"name": ["other", "tag"]}, {"plain", "other", "aws", "nightly"}),
            ({"state": "pending"}, {"plain", "other", "aws", "nightly"}),
            ({"state": ["assigned"]}, set()),
            ({"attr.cloud": "aws"}, {"aws"}),
            ({"tag": "nightly"}, {"nightly"}),
            ({"tag": "nightly", "attr.cloud": "aws"}, set()),
            ({"created_before": "2020-01-01T00:00:00Z"}, set()),
            ({"created_after": "2020-01-01T00:00:00+01:00", "name": "other"}, {"other"}),
            ({"worker": NOBODY}, set()),
        ],
    )
    def test_selects(
        self, producer: APIClient, tasks: dict[str, str], filters: dict[str, Any], selected: set[str]
    ) -> None:
        ended = carry_out(producer, "cancel", **filters)
        assert ended["filter"] == filters
        assert ended["total"] == ended["done"] == len(selected)
        assert {name for name, task_id in tasks.items() if state_of(task_id) == "cancelled"} == selected

    def test_selects_what_a_worker_holds(self, producer: APIClient, tasks: dict[str, str]) -> None:
        worker = attached("tag")
        assign(tasks["aws"], worker)
        assert carry_out(producer, "cancel", worker=str(worker.id))["done"] == 1
        assert state_of(tasks["aws"]) == "cancelled"

    @pytest.mark.parametrize("action", ["cancel", "retry"])
    @pytest.mark.parametrize(
        ("body", "pointers"),
        [
            ({}, [""]),
            ([], [""]),
            ([{"name": "tag"}], [""]),
            ("tag", [""]),
            ({"all": False}, ["/all"]),
            ({"all": True, "name": "tag"}, ["/all"]),
            ({"nmae": "tag"}, ["/nmae"]),
            ({"name": "no name", "state": "open", "worker": "w"}, ["/name", "/state", "/worker"]),
            ({"name": []}, ["/name"]),
            ({"name": [7]}, ["/name"]),
            ({"tag": ["a", "b"]}, ["/tag"]),
            ({"attr.cloud": None}, ["/attr.cloud"]),
            ({"attr.": "aws"}, ["/attr."]),
            ({"created_after": "yesterday"}, ["/created_after"]),
            ({"created_after": 7}, ["/created_after"]),
            ({"cursor": "x"}, ["/cursor"]),
        ],
    )
    def test_that_cannot_be_used_is_400_and_says_why(
        self, producer: APIClient, action: str, body: Any, pointers: list[str]
    ) -> None:
        problem = assert_problem(ask(producer, action, body), 400)
        assert problem["type"] == "urn:workqueue:problem:invalid-filter"
        assert [error["pointer"] for error in problem["errors"]] == pointers
        assert not Operation.objects.exists()

    def test_that_is_missing_says_how_to_mean_every_task(self, producer: APIClient) -> None:
        for response in (producer.post("/api/v1/tasks/cancel"), ask(producer, "cancel", {"all": "yes"})):
            assert '{"all": true}' in assert_problem(response, 400)["errors"][0]["message"]

    @pytest.mark.parametrize(("action", "states"), [("cancel", "pending,failed"), ("retry", ["assigned"])])
    def test_of_states_that_the_action_cannot_change_is_400(
        self, producer: APIClient, action: str, states: Any
    ) -> None:
        problem = assert_problem(ask(producer, action, {"state": states}), 400)
        (error,) = problem["errors"]
        assert error["pointer"] == "/state"
        assert error["message"].startswith(f"{action} changes only tasks that are ")

    def test_is_no_parameter(self, producer: APIClient) -> None:
        assert_problem(producer.post("/api/v1/tasks/cancel?name=tag", {"all": True}, format="json"), 400)


class TestWhoMay:
    def test_a_producer_changes_only_its_own_tasks(self, caller: Caller) -> None:
        mine, yours = caller("producer"), caller("producer")
        my_task, your_task = submit(mine), submit(yours)
        assert carry_out(mine, "cancel", all=True)["done"] == 1
        assert (state_of(my_task), state_of(your_task)) == ("cancelled", "pending")

    def test_an_operator_changes_those_of_all(self, caller: Caller) -> None:
        tasks = [submit(caller("producer")) for _ in range(2)]
        assert carry_out(caller("operator"), "cancel", all=True)["done"] == 2
        assert {state_of(task_id) for task_id in tasks} == {"cancelled"}

    def test_an_admin_user_does_too(
        self, producer: APIClient, admin_user_client: Callable[..., APIClient]
    ) -> None:
        task_id = submit(producer)
        client = admin_user_client(is_staff=True, is_superuser=True)
        assert carry_out(client, "cancel", all=True)["asked_by"] == "ada"
        assert state_of(task_id) == "cancelled"

    @pytest.mark.parametrize("role", ["producer", "operator"])
    def test_a_key_for_certain_names_changes_only_these(self, caller: Caller, role: str) -> None:
        bound = caller(role, "image.*")
        inside = submit(bound, name="image.tag")
        outside = submit(caller("operator"), name="tag")
        assert carry_out(bound, "cancel", all=True)["done"] == 1
        assert carry_out(bound, "cancel", name="tag")["total"] == 0
        assert (state_of(inside), state_of(outside)) == ("cancelled", "pending")

    def test_a_producer_sees_only_its_own_operations(self, caller: Caller) -> None:
        mine, yours, operator = caller("producer"), caller("producer"), caller("operator")
        ours = [begin(client, "cancel", all=True)["id"] for client in (mine, yours, operator)]
        assert ids(mine.get(OPERATIONS).json()["results"]) == ours[:1]
        assert ids(operator.get(OPERATIONS).json()["results"]) == ours[::-1]
        for theirs in ours[1:]:
            assert_problem(mine.get(f"{OPERATIONS}/{theirs}"), 404)
            assert_problem(mine.post(f"{OPERATIONS}/{theirs}/stop"), 404)
            assert operator.get(f"{OPERATIONS}/{theirs}").json()["state"] == "running"

    @pytest.mark.parametrize(
        "path", ["/api/v1/tasks/cancel", "/api/v1/tasks/retry", f"{OPERATIONS}/{NOBODY}/stop"]
    )
    def test_a_worker_does_nothing(self, caller: Caller, path: str) -> None:
        assert_problem(caller("worker").post(path, {"all": True}, format="json"), 403)
        assert_problem(caller("worker").get(OPERATIONS), 403)


class TestStop:
    def test_leaves_the_rest_as_it_is(self, producer: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(operations, "CHANGED_AT_ONCE", 2)
        tasks = [submit(producer) for _ in range(5)]
        begun = begin(producer, "cancel", name="tag")
        assert operations.carry_on(UUID(begun["id"]))
        stopped = producer.post(f"{OPERATIONS}/{begun['id']}/stop")
        assert stopped.status_code == 200
        ended = end(producer, begun)
        assert ended == stopped.json()
        assert (ended["state"], ended["total"], ended["done"]) == ("stopped", 5, 2)
        assert [state_of(task_id) for task_id in sorted(tasks)] == ["cancelled"] * 2 + ["pending"] * 3

    def test_may_be_said_twice(self, producer: APIClient) -> None:
        begun = begin(producer, "cancel", all=True)
        first = producer.post(f"{OPERATIONS}/{begun['id']}/stop")
        second = producer.post(f"{OPERATIONS}/{begun['id']}/stop")
        assert second.status_code == 200
        assert second.json() == first.json()

    def test_comes_too_late_for_one_that_is_done(self, producer: APIClient) -> None:
        ended = carry_out(producer, "cancel", all=True)
        assert_problem(producer.post(f"{OPERATIONS}/{ended['id']}/stop"), 409)
        assert producer.get(f"{OPERATIONS}/{ended['id']}").json() == ended

    @pytest.mark.parametrize("rest", ["", "/stop"])
    def test_of_nothing_is_404(self, producer: APIClient, rest: str) -> None:
        ask_for = producer.post if rest else producer.get
        assert_problem(ask_for(f"{OPERATIONS}/{NOBODY}{rest}"), 404)


def test_operations_are_listed_newest_first_in_pages(producer: APIClient) -> None:
    begun = [begin(producer, "cancel", all=True)["id"] for _ in range(3)]
    first = producer.get(f"{OPERATIONS}?limit=2").json()
    second = producer.get(first["next"]).json()
    assert ids(first["results"] + second["results"]) == begun[::-1]
    assert_problem(producer.get(f"{OPERATIONS}?state=running"), 400)


def test_what_a_worker_holds_is_taken_from_it(producer: APIClient) -> None:
    held, ended = submit(producer), submit(producer)
    worker = attached("tag")
    assign(held, worker)
    assign(ended, worker)
    finish(ended, worker)
    assert carry_out(producer, "cancel", name="tag")["done"] == 1
    (attempt,) = producer.get(f"/api/v1/tasks/{held}/attempts").json()["results"]
    assert attempt["outcome"] == "cancelled"
    assert state_of(ended) == "succeeded"
