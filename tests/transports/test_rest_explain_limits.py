"""GET /tasks/{id}/explain and POST /route where a limit of concurrency holds a task back."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from rest_framework.test import APIClient

from queueapp import database, naming, queues
from tests.integration.fleet import Fleet, holder_of
from tests.transports.conftest import submit

pytestmark = pytest.mark.django_db(transaction=True)

MANY = 100


def run(fleet: Fleet) -> None:
    """Passes until there is nothing more to assign."""
    for _ in range(MANY):
        if not fleet.run().more:
            return
    raise AssertionError("passes follow each other without an end")


def limit(name: str = "tag", **limits: int) -> None:
    naming.make_queues([name])
    queues.configure(name, limits)


def explained(client: APIClient, task_id: str) -> dict[str, Any]:
    response = client.get(f"/api/v1/tasks/{task_id}/explain")
    assert response.status_code == 200, response.json()
    return response.json()


def routed(client: APIClient, name: str) -> dict[str, Any]:
    response = client.post("/api/v1/route", {"name": name}, format="json")
    assert response.status_code == 200, response.json()
    return response.json()


def reasons(explanation: dict[str, Any]) -> list[str]:
    return [reason["reason"] for reason in explanation["reasons"]]


def finish(fleet: Fleet, task_id: str) -> None:
    holder = holder_of(UUID(task_id))
    assert holder is not None
    assert fleet.finish(holder, UUID(task_id)) == ["accepted"]
    run(fleet)


class TestATaskOfAQueueAtItsLimit:
    def test_waits_for_the_queue(self, fleet: Fleet, producer: APIClient) -> None:
        fleet.attach("task=tag")
        limit(concurrency=2)
        first, _, waiting = (submit(producer) for _ in range(3))
        run(fleet)
        said = explained(producer, waiting)
        assert reasons(said) == ["concurrency"]
        assert said["summary"] == "It waits: its queue tag is at its limit: 2 of 2 run."
        assert said["reasons"][0]["since"] == producer.get(f"/api/v1/tasks/{waiting}").json()["available_at"]
        assert said["chosen"] is None
        assert said["ahead"] == {"count": 0, "or_more": False}
        finish(fleet, first)
        assert reasons(explained(producer, waiting)) == ["assigned"]

    def test_is_told_of_those_of_the_queue_that_come_first(self, fleet: Fleet, producer: APIClient) -> None:
        fleet.attach("task=tag")
        limit(concurrency=1)
        *_, last = (submit(producer) for _ in range(4))
        run(fleet)
        said = explained(producer, last)
        assert reasons(said) == ["concurrency", "behind"]
        assert said["summary"] == "It waits: its queue tag is at its limit: 1 of 1 runs; 2 tasks are ahead of it."

    def test_is_also_told_that_nobody_else_could_take_it(self, fleet: Fleet, producer: APIClient) -> None:
        fleet.attach("task=tag&_max_outstanding=1&_name=w1")
        limit(concurrency=1)
        submit(producer)
        waiting = submit(producer)
        run(fleet)
        assert reasons(explained(producer, waiting)) == ["concurrency", "full"]

    def test_that_does_not_exist_would_wait_too(self, fleet: Fleet, producer: APIClient) -> None:
        fleet.attach("task=tag")
        limit(concurrency=1)
        task_id = submit(producer)
        assert reasons(routed(producer, "tag")) == ["behind"]
        run(fleet)
        said = routed(producer, "tag")
        assert reasons(said) == ["concurrency"]
        assert said["summary"] == "It would wait: its queue tag is at its limit: 1 of 1 runs."
        finish(fleet, task_id)
        assert reasons(routed(producer, "tag")) == ["ready"]

    def test_comes_before_nobody_of_another_queue(self, fleet: Fleet, producer: APIClient) -> None:
        fleet.attach("task=tag,scan")
        limit(concurrency=1)
        for _ in range(3):
            submit(producer, priority=9)
        run(fleet)
        said = explained(producer, submit(producer, name="scan"))
        assert reasons(said) == ["ready"]
        assert said["ahead"] == {"count": 0, "or_more": False}

    def test_waits_for_its_time_first(self, fleet: Fleet, producer: APIClient) -> None:
        fleet.attach("task=tag")
        limit(concurrency=1)
        submit(producer)
        run(fleet)
        assert reasons(explained(producer, submit(producer, delay=60))) == ["delayed"]

    def test_in_a_paused_queue_is_told_both(self, fleet: Fleet, producer: APIClient) -> None:
        fleet.attach("task=tag")
        limit(concurrency=1)
        submit(producer)
        waiting = submit(producer)
        run(fleet)
        queues.pause(["tag"], "ada", "", database.now())
        assert reasons(explained(producer, waiting)) == ["paused", "concurrency"]


class TestATaskWithAConcurrencyKey:
    def test_waits_for_those_that_run(self, fleet: Fleet, producer: APIClient) -> None:
        fleet.attach("task=tag")
        limit(concurrency_per_key=3)
        first, *_, waiting = (submit(producer, concurrency_key="customer-7") for _ in range(4))
        run(fleet)
        said = explained(producer, waiting)
        assert reasons(said) == ["concurrency"]
        assert said["summary"] == "It waits: 3 of 3 tasks of concurrency key customer-7 run."
        assert said["chosen"] is None
        finish(fleet, first)
        assert reasons(explained(producer, waiting)) == ["assigned"]

    def test_is_one_at_a_time_without_more_said(self, fleet: Fleet, producer: APIClient) -> None:
        fleet.attach("task=tag")
        _, waiting = (submit(producer, concurrency_key="a") for _ in range(2))
        run(fleet)
        assert explained(producer, waiting)["summary"] == "It waits: 1 of 1 task of concurrency key a runs."

    def test_counts_the_held_back_ones_before_it(self, fleet: Fleet, producer: APIClient) -> None:
        fleet.attach("task=tag")
        *_, last = (submit(producer, concurrency_key="a") for _ in range(4))
        submit(producer, concurrency_key="b")
        urgent = submit(producer, concurrency_key="a", priority=1)
        said = explained(producer, last)
        assert reasons(said) == ["concurrency", "behind"]
        assert "4 tasks of concurrency key a come before it" in said["summary"]
        assert said["ahead"] == {"count": 4, "or_more": False}
        assert reasons(explained(producer, urgent)) == ["ready"]
        run(fleet)
        assert holder_of(UUID(urgent)) is not None
        said = explained(producer, last)
        assert said["reasons"][0]["message"] == "1 of 1 task of concurrency key a runs"
        assert said["ahead"]["count"] == 3

    def test_is_ready_while_only_another_key_runs(self, fleet: Fleet, producer: APIClient) -> None:
        (worker,) = fleet.attach("task=tag")
        submit(producer, concurrency_key="a")
        run(fleet)
        task_id = submit(producer, concurrency_key="b")
        said = explained(producer, task_id)
        assert reasons(said) == ["ready"]
        run(fleet)
        assert holder_of(UUID(task_id)) == worker

    def test_waits_for_a_worker_where_none_matches_and_nothing_runs(
        self, fleet: Fleet, producer: APIClient
    ) -> None:
        fleet.attach("task=scan")
        assert reasons(explained(producer, submit(producer, concurrency_key="a"))) == ["no_match"]

    def test_has_more_before_it_than_are_counted(
        self, fleet: Fleet, producer: APIClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("queueapp.foresight.COUNTED_AHEAD", 2)
        fleet.attach("task=tag")
        *_, last = (submit(producer, concurrency_key="a") for _ in range(5))
        said = explained(producer, last)
        assert said["ahead"] == {"count": 2, "or_more": True}
        assert "more than 2 tasks of concurrency key a come before it" in said["summary"]
