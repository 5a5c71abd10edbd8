"""GET /tasks/{id}/explain: the true reason in each case, over real rows and passes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from rest_framework.test import APIClient

from queueapp import database, queues
from queueapp.models import Task
from tests.integration.fleet import Fleet, holder_of
from tests.transports.conftest import submit

pytestmark = pytest.mark.django_db(transaction=True)

AWS = {"cloud": "aws"}


def explained(client: APIClient, task_id: str) -> dict[str, Any]:
    response = client.get(f"/api/v1/tasks/{task_id}/explain")
    assert response.status_code == 200, response.json()
    return response.json()


def reasons(explanation: dict[str, Any]) -> list[str]:
    return [reason["reason"] for reason in explanation["reasons"]]


def task(client: APIClient, task_id: str) -> dict[str, Any]:
    return client.get(f"/api/v1/tasks/{task_id}").json()


def waited(task_id: str, seconds: float) -> None:
    """Let that many seconds have passed since it began to wait."""
    row = Task.objects.get(pk=task_id)
    Task.objects.filter(pk=task_id).update(waiting_since=row.waiting_since - timedelta(seconds=seconds))


def fail(fleet: Fleet, worker: UUID, task_id: str, text: str = "no such image") -> None:
    assert fleet.finish(worker, UUID(task_id), done=False, error=text) == ["accepted"]


class TestATaskThatNobodyMatches:
    def test_finds_no_worker(self, fleet: Fleet, producer: APIClient) -> None:
        said = explained(producer, submit(producer))
        assert reasons(said) == ["no_worker"]
        assert said["summary"] == "It waits: no worker is online."
        assert (said["workers"], said["groups"], said["chosen"], said["nearest_miss"]) == ([], [], None, None)

    def test_has_a_name_that_none_offers(self, fleet: Fleet, producer: APIClient) -> None:
        fleet.attach("task=collect", "task=collect")
        said = explained(producer, submit(producer))
        assert reasons(said) == ["no_match"]
        assert said["summary"] == "It waits: no worker matches (2 workers: 2 do not offer tag)."
        assert {(w["verdict"], w["message"], w["matched"]) for w in said["workers"]} == {
            ("wrong_name", "does not offer tag", False)
        }

    def test_has_a_name_that_looks_misspelt(self, fleet: Fleet, producer: APIClient) -> None:
        fleet.attach("task=tag,collect")
        said = explained(producer, submit(producer, name="colect"))
        (suggestion,) = said["suggestions"]
        assert (suggestion["of"], suggestion["given"], suggestion["meant"]) == ("name", "colect", "collect")
        assert said["summary"].endswith("no worker offers colect: did you mean collect?")

    def test_has_a_value_that_none_accepts(self, fleet: Fleet, producer: APIClient) -> None:
        fleet.attach("task=tag&cloud=aws,gcp&_name=w1")
        said = explained(producer, submit(producer, attrs={"cloud": "azure"}))
        assert reasons(said) == ["no_match"]
        (worker,) = said["workers"]
        assert (worker["verdict"], worker["criterion"]) == ("wrong_value", "cloud")
        assert worker["message"] == "cloud: task says azure, worker accepts aws, gcp"
        assert said["nearest_miss"] == worker
        assert "the nearest is w1: cloud: task says azure, worker accepts aws, gcp" in said["summary"]

    def test_lacks_an_attribute(self, fleet: Fleet, producer: APIClient) -> None:
        fleet.attach("task=tag&cloud=aws")
        said = explained(producer, submit(producer, attrs={"region": "eu"}))
        (worker,) = said["workers"]
        assert (worker["verdict"], worker["criterion"]) == ("missing_attribute", "cloud")
        assert worker["message"] == "cloud: task says nothing, worker accepts aws"
        assert said["suggestions"] == []

    def test_has_an_attribute_that_looks_misspelt(self, fleet: Fleet, producer: APIClient) -> None:
        fleet.attach("task=tag&account=123")
        said = explained(producer, submit(producer, attrs={"acount": "123"}))
        (suggestion,) = said["suggestions"]
        assert (suggestion["of"], suggestion["given"], suggestion["meant"]) == ("attribute", "acount", "account")
        assert said["summary"].endswith("did you mean account?")

    def test_meets_a_filter_that_looks_misspelt(self, fleet: Fleet, producer: APIClient) -> None:
        fleet.attach("task=tag&acount=123", "task=tag&account=456")
        said = explained(producer, submit(producer, attrs={"account": "123"}))
        (suggestion,) = said["suggestions"]
        assert (suggestion["of"], suggestion["given"], suggestion["meant"]) == ("criterion", "acount", "account")

    def test_is_told_how_many_workers_fail_by_what(self, fleet: Fleet, producer: APIClient) -> None:
        *_, nearest = fleet.attach(
            *["task=collect"] * 7, *["task=tag&cloud=aws"] * 3, "task=tag&account=1&cloud=aws"
        )
        said = explained(producer, submit(producer, attrs={"account": "1", "cloud": "azure"}))
        assert "11 workers: 4 fail cloud, 7 do not offer tag" in said["summary"]
        assert [(g["verdict"], g["criterion"], g["workers"]) for g in said["groups"]] == [
            ("wrong_value", "cloud", 4),
            ("wrong_name", None, 7),
        ]
        assert said["workers_total"] == len(said["workers"]) == 11
        assert said["nearest_miss"]["id"] == str(nearest)

    def test_matches_only_one_that_drains(self, fleet: Fleet, producer: APIClient) -> None:
        (worker, _) = fleet.attach("task=tag&_name=w1", "task=collect")
        fleet.run(drains=[worker])
        said = explained(producer, submit(producer))
        assert reasons(said) == ["draining"]
        assert said["summary"] == (
            "It waits: the only worker that matches drains (2 workers: 1 draining, 1 does not offer tag)."
        )
        assert said["nearest_miss"]["id"] == str(worker)
        assert said["nearest_miss"]["state"] == "draining"


class TestATaskThatIsHeldBack:
    def test_is_in_a_paused_queue(self, fleet: Fleet, producer: APIClient, operator: APIClient) -> None:
        fleet.attach("task=tag")
        task_id = submit(producer)
        queue = operator.post("/api/v1/queues/tag/pause", {"note": "disk full"}, format="json").json()
        said = explained(producer, task_id)
        assert reasons(said) == ["paused"]
        assert f"queue tag has been paused by {queue['paused_by']} since " in said["summary"]
        assert "(disk full)" in said["summary"]
        assert said["reasons"][0]["since"] == queue["paused_at"]
        assert said["chosen"] is None
        fleet.run(tick=True)
        assert holder_of(UUID(task_id)) is None

    def test_is_delayed(self, fleet: Fleet, producer: APIClient) -> None:
        fleet.attach("task=tag")
        task_id = submit(producer, delay=60)
        said = explained(producer, task_id)
        assert reasons(said) == ["delayed"]
        assert said["reasons"][0]["until"] == task(producer, task_id)["available_at"]
        assert said["since"] == task(producer, task_id)["created_at"]
        assert said["chosen"] is None

    def test_waits_out_a_backoff(self, fleet: Fleet, producer: APIClient) -> None:
        (worker,) = fleet.attach("task=tag")
        task_id = submit(producer, retry_on=["error"], backoff={"initial": 100})
        fleet.run()
        fail(fleet, worker, task_id)
        said = explained(producer, task_id)
        assert reasons(said) == ["backoff"]
        assert "after the error in attempt 1 (no such image)" in said["summary"]
        assert said["reasons"][0]["until"] == task(producer, task_id)["available_at"]
        (attempt,) = producer.get(f"/api/v1/tasks/{task_id}/attempts").json()["results"]
        assert said["since"] == attempt["ended_at"]

    def test_has_all_its_reasons(self, fleet: Fleet, producer: APIClient) -> None:
        task_id = submit(producer, delay=60)
        queues.pause(["tag"], "ada", "", database.now())
        assert reasons(explained(producer, task_id)) == ["paused", "delayed", "no_worker"]

    def test_finds_all_candidates_full(self, fleet: Fleet, producer: APIClient) -> None:
        fleet.attach("task=tag&cloud=aws&_max_outstanding=1&_name=w1", "task=tag")
        submit(producer, attrs=AWS)
        fleet.run()
        task_id = submit(producer, attrs=AWS)
        said = explained(producer, task_id)
        assert reasons(said) == ["full"]
        assert said["summary"] == (
            "It waits: candidate w1 is full (1 of 1 outstanding); without spill_after 1 worker is too unspecific."
        )
        assert [(w["verdict"], w["specificity"], w["outstanding"]) for w in said["workers"]] == [
            ("full", 1, 1),
            ("less_specific", 0, 0),
        ]
        assert said["since"] == task(producer, task_id)["available_at"]

    def test_is_behind_others(self, fleet: Fleet, producer: APIClient) -> None:
        fleet.attach("task=tag&_max_outstanding=2")
        for _ in range(3):
            submit(producer)
        task_id = submit(producer)
        said = explained(producer, task_id)
        assert reasons(said) == ["behind"]
        assert said["summary"] == "It waits: 3 tasks are ahead of it."
        assert said["ahead"] == {"count": 3, "or_more": False}
        fleet.run()
        said = explained(producer, task_id)
        assert reasons(said) == ["full", "behind"]
        assert said["ahead"]["count"] == 1

    def test_may_spill_later(self, fleet: Fleet, producer: APIClient) -> None:
        general, _ = fleet.attach("task=tag&_name=general", "task=tag&cloud=aws&_max_outstanding=1")
        submit(producer, attrs=AWS)
        fleet.run()
        task_id = submit(producer, attrs=AWS, spill_after=30)
        said = explained(producer, task_id)
        assert reasons(said) == ["full", "spill"]
        at = Task.objects.get(pk=task_id).waiting_since + timedelta(seconds=30)
        assert said["reasons"][1]["until"] == at.isoformat().replace("+00:00", "Z")
        assert f"from {at:%Y-%m-%dT%H:%M:%SZ} on 1 worker is less specific and may take it" in said["summary"]
        waited(task_id, 31)
        said = explained(producer, task_id)
        assert reasons(said) == ["ready"]
        assert said["chosen"]["id"] == str(general)
        fleet.run(tick=True)
        assert holder_of(UUID(task_id)) == general


class TestATaskThatSomebodyTakes:
    def test_names_whom_and_why(self, fleet: Fleet, producer: APIClient) -> None:
        fleet.attach("task=tag&_name=busy", "task=tag&_name=free", "task=tag&cloud=gcp")
        submit(producer)
        fleet.run()
        task_id = submit(producer)
        said = explained(producer, task_id)
        assert reasons(said) == ["ready"]
        chosen = said["chosen"]
        assert chosen == said["workers"][0]
        assert (chosen["verdict"], chosen["outstanding"]) == ("chosen", 0)
        assert "the fewest outstanding of 2 with room (0/100 outstanding)" in said["summary"]
        assert [w["verdict"] for w in said["workers"]] == ["chosen", "candidate", "missing_attribute"]
        fleet.run()
        assert holder_of(UUID(task_id)) == UUID(chosen["id"])

    def test_is_told_who_lost_it_before(self, fleet: Fleet, producer: APIClient) -> None:
        workers = fleet.attach("task=tag&_max_outstanding=2", "task=tag&_max_outstanding=2")
        task_id = submit(producer)
        fleet.run()
        lost_it = holder_of(UUID(task_id))
        (other,) = (worker for worker in workers if worker != lost_it)
        submit(producer)
        fleet.run()  # so that the other is the busier one
        Task.objects.filter(pk=task_id).update(deadline=database.now())
        queues.pause(["tag"], "ada", "", database.now())
        fleet.run(tick=True)
        queues.resume(["tag"])
        said = explained(producer, task_id)
        assert said["chosen"]["id"] == str(other)
        assert "the only one with room that has not lost the task before" in said["summary"]
        assert said["workers"][1]["message"] == "has room: 0/2 outstanding, lost this task before"
        fleet.run(tick=True)
        assert holder_of(UUID(task_id)) == other

    def test_is_assigned_to_whom_since_when(self, fleet: Fleet, producer: APIClient) -> None:
        (worker,) = fleet.attach("task=tag&_name=w1")
        task_id = submit(producer)
        fleet.run()
        said = explained(producer, task_id)
        row = task(producer, task_id)
        assert reasons(said) == ["assigned"]
        assert said["since"] == said["reasons"][0]["since"] == row["assigned_at"]
        assert said["reasons"][0]["until"] == row["deadline"]
        assert said["summary"].startswith("Worker w1 has held it since ")
        assert (said["workers"][0]["id"], said["workers"][0]["verdict"]) == (str(worker), "holder")
        assert (said["chosen"], said["ahead"]) == (None, None)

    def test_has_succeeded(self, fleet: Fleet, producer: APIClient) -> None:
        (worker,) = fleet.attach("task=tag&_name=w1")
        task_id = submit(producer)
        fleet.run()
        fleet.finish(worker, UUID(task_id))
        said = explained(producer, task_id)
        assert reasons(said) == ["finished"]
        assert said["since"] == task(producer, task_id)["finished_at"]
        assert said["summary"].startswith("It succeeded at ")
        assert said["summary"].endswith(", in attempt 1 on worker w1.")

    def test_has_failed(self, fleet: Fleet, producer: APIClient) -> None:
        (worker,) = fleet.attach("task=tag&_name=w1")
        task_id = submit(producer)
        fleet.run()
        fail(fleet, worker, task_id)
        assert "attempt 1 on worker w1 ended as error (no such image)" in explained(producer, task_id)["summary"]

    def test_was_cancelled(self, producer: APIClient) -> None:
        task_id = submit(producer)
        producer.post(f"/api/v1/tasks/{task_id}/cancel")
        said = explained(producer, task_id)
        assert (reasons(said), said["state"]) == (["finished"], "cancelled")
        assert said["summary"].startswith("It was cancelled at ")

    def test_has_expired(self, fleet: Fleet, producer: APIClient) -> None:
        task_id = submit(producer, expires_in=60)
        Task.objects.filter(pk=task_id).update(expires_at=database.now())
        fleet.run(tick=True)
        assert explained(producer, task_id)["summary"].startswith("It expired at ")
