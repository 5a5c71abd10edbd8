"""Defaults and limits of queues, and what a submission says of when and how many at a time."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from rest_framework.test import APIClient

from queueapp.models import Queue, Task
from tests.transports.conftest import Caller, assert_problem, assign, attached, finish, submit

pytestmark = pytest.mark.django_db(transaction=True)

DEFAULTS = {
    "timeout": 60.0,
    "max_attempts": 2,
    "spill_after": 5.0,
    "concurrency": 3,
    "concurrency_per_key": 2,
}


def patch(client: APIClient, changes: Any, name: str = "tag") -> Any:
    return client.patch(f"/api/v1/queues/{name}", changes, format="json")


def read(client: APIClient, task_id: str) -> dict[str, Any]:
    return client.get(f"/api/v1/tasks/{task_id}").json()


def seconds_between(earlier: str, later: str) -> float:
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()


class TestAQueuesDefaults:
    def test_are_set_and_read(self, operator: APIClient) -> None:
        submit(operator)
        changed = patch(operator, DEFAULTS)
        assert changed.status_code == 200
        assert changed.json().items() >= DEFAULTS.items()
        assert operator.get("/api/v1/queues/tag").json().items() >= DEFAULTS.items()

    def test_apply_to_what_is_submitted_from_then_on_and_does_not_say_itself(self, operator: APIClient) -> None:
        before = read(operator, submit(operator))
        patch(operator, DEFAULTS)
        plain = read(operator, submit(operator))
        own = read(operator, submit(operator, timeout=7, max_attempts=9, spill_after=0))
        of = "timeout", "max_attempts", "spill_after"
        assert [before[each] for each in of] == [300, 4, None]
        assert [plain[each] for each in of] == [60, 2, 5]
        assert [own[each] for each in of] == [7, 9, 0]

    def test_that_are_left_out_stay_and_null_takes_one_away(self, operator: APIClient) -> None:
        submit(operator)
        patch(operator, DEFAULTS)
        changed = patch(operator, {"timeout": 9, "concurrency": None}).json()
        assert changed.items() >= (DEFAULTS | {"timeout": 9, "concurrency": None}).items()
        assert patch(operator, dict.fromkeys(DEFAULTS)).json().items() >= dict.fromkeys(DEFAULTS).items()

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("timeout", 0),
            ("timeout", "60"),
            ("max_attempts", 1001),
            ("spill_after", -1),
            ("concurrency", 0),
            ("concurrency", True),
            ("concurrency", 1.5),
            ("concurrency", 1_000_001),
            ("concurrency_per_key", 0),
            ("paused", True),
            ("priority", 3),
        ],
    )
    def test_are_refused_by_name_where_they_cannot_be_used(
        self, operator: APIClient, field: str, value: object
    ) -> None:
        submit(operator)
        problem = assert_problem(patch(operator, {field: value, "max_attempts": 3} | {field: value}), 400)
        assert [error["pointer"] for error in problem["errors"]] == [f"/{field}"]
        assert Queue.objects.get(pk="tag").max_attempts is None

    def test_are_an_object(self, operator: APIClient) -> None:
        submit(operator)
        assert_problem(patch(operator, [1]), 400)

    def test_are_for_operators_to_set_and_producers_to_read(
        self, operator: APIClient, producer: APIClient
    ) -> None:
        submit(producer)
        assert_problem(patch(producer, {"concurrency": 1}), 403)
        assert producer.get("/api/v1/queues/tag").status_code == 200

    def test_are_not_for_worker_keys_to_read(self, caller: Caller, operator: APIClient) -> None:
        submit(operator)
        assert_problem(caller("worker").get("/api/v1/queues/tag"), 403)

    def test_of_a_name_beyond_the_keys_are_not_to_be_set(self, caller: Caller, operator: APIClient) -> None:
        submit(operator)
        assert_problem(patch(caller("operator", "image.*"), {"concurrency": 1}), 403)

    def test_are_set_before_the_first_task(self, operator: APIClient) -> None:
        assert patch(operator, {"timeout": 9, "concurrency": 1}, "new").json()["concurrency"] == 1
        assert read(operator, submit(operator, name="new"))["timeout"] == 9

    def test_of_no_queue_are_not_found(self, operator: APIClient) -> None:
        assert_problem(patch(operator, {"concurrency": 1}, "no%20name"), 404)
        assert_problem(patch(operator, {}, "nothing"), 404)
        assert not Queue.objects.exists()


class TestALimitedQueue:
    def test_says_how_many_run(self, operator: APIClient) -> None:
        task_id = submit(operator)
        submit(operator)
        patch(operator, {"concurrency": 1})
        assign(task_id, attached("tag"))
        queue = operator.get("/api/v1/queues/tag").json()
        assert (queue["counts"]["assigned"], queue["concurrency"]) == (1, 1)


class TestAConcurrencyKey:
    def test_is_part_of_the_task(self, producer: APIClient) -> None:
        assert read(producer, submit(producer, concurrency_key="customer-7"))["concurrency_key"] == "customer-7"
        assert read(producer, submit(producer))["concurrency_key"] is None

    def test_may_be_each_tasks_own_in_an_array(self, producer: APIClient) -> None:
        tasks = [{"name": "tag", "concurrency_key": key} for key in ("a", "b", "a", None)]
        assert producer.post("/api/v1/tasks", tasks, format="json").status_code == 201
        keys = Task.objects.order_by("id").values_list("concurrency_key", "held_back")
        assert list(keys) == [("a", True), ("b", True), ("a", True), (None, False)]

    @pytest.mark.parametrize("key", ["", "x" * 201, 7, ["k"]])
    def test_that_cannot_be_used_is_refused(self, producer: APIClient, key: object) -> None:
        response = producer.post("/api/v1/tasks", {"name": "tag", "concurrency_key": key}, format="json")
        assert assert_problem(response, 400)["errors"][0]["pointer"] == "/concurrency_key"


class TestASchedule:
    def test_by_delay_makes_a_task_available_that_much_later(self, producer: APIClient) -> None:
        task = read(producer, submit(producer, delay=90))
        assert seconds_between(task["created_at"], task["available_at"]) == pytest.approx(90, abs=1)
        assert Task.objects.get().delayed_until is not None

    def test_by_available_at_is_a_time_of_any_zone(self, producer: APIClient) -> None:
        task_id = submit(producer, available_at="2027-01-31T13:00:00+01:00")
        assert read(producer, task_id)["available_at"] == "2027-01-31T12:00:00.000000Z"

    def test_in_the_past_is_kept_and_nobody_has_waited_since_then(self, producer: APIClient) -> None:
        task = read(producer, submit(producer, available_at="2020-01-31T12:00:00Z"))
        assert task["available_at"] == "2020-01-31T12:00:00.000000Z"
        assert Task.objects.get().delayed_until is None
        assert producer.get("/api/v1/queues/tag").json()["oldest_pending_seconds"] < 3600

    def test_is_said_in_one_way_only(self, producer: APIClient) -> None:
        fields = {"name": "tag", "delay": 5, "available_at": "2030-01-31T12:00:00Z"}
        assert_problem(producer.post("/api/v1/tasks", fields, format="json"), 400)

    def test_by_backoff_spaces_attempts_that_ended_in_an_error(self, producer: APIClient) -> None:
        backoff = {"initial": 100, "factor": 3, "max": 200}
        task_id = submit(producer, retry_on=["error"], backoff=backoff)
        worker = attached("tag")
        for nominal in (100, 200, 200):
            assign(task_id, worker)
            finish(task_id, worker, done=False, error="broken")
            task = Task.objects.get()
            assert task.state == "pending"
            assert task.delayed_until is not None
            ended = task.attempts.order_by("-number").values_list("ended_at", flat=True)[0]
            assert timedelta(seconds=nominal / 2) <= task.delayed_until - ended <= timedelta(seconds=nominal)
            Task.objects.update(delayed_until=None)
