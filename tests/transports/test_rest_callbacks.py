"""`callback_url` of a submission, and what became of the callbacks of a task."""

from __future__ import annotations

from uuid import UUID

import pytest
from admin_rows import list_url, page_url, shown
from django.test import Client
from rest_framework.test import APIClient

from queueapp import callbacks, database, lifecycle
from queueapp.callbacks import Result
from queueapp.models import Delivery, Task
from tests.transports.conftest import Caller, assert_problem, submit

URL = "https://hooks.example/tasks?token=1"

pytestmark = pytest.mark.django_db


def ended(client: APIClient) -> str:
    task_id = submit(client, callback_url=URL)
    lifecycle.cancel([UUID(task_id)], database.now())
    return task_id


def tried(status: int | None, error: str) -> None:
    now = database.now()
    (delivery,) = callbacks.claim(1, {}, now)
    callbacks.settle([Result(delivery.id, delivery.attempts, delivery.created_at, status, error)], now)


class TestASubmission:
    def test_keeps_its_callback_url(self, producer: APIClient):
        task_id = submit(producer, callback_url=URL)
        assert producer.get(f"/api/v1/tasks/{task_id}").json()["callback_url"] == URL
        assert producer.get(f"/api/v1/tasks/{submit(producer)}").json()["callback_url"] is None
        assert Task.objects.get(pk=submit(producer, callback_url=None)).callback_url is None

    def test_of_many_keeps_each(self, producer: APIClient):
        body = [{"name": "tag", "callback_url": f"{URL}&n={n}"} for n in range(3)]
        ids = producer.post("/api/v1/tasks", body, format="json").json()["ids"]
        kept = dict(Task.objects.values_list("id", "callback_url"))
        assert [kept[UUID(task_id)] for task_id in ids] == [task["callback_url"] for task in body]

    @pytest.mark.parametrize(
        "url", ["ftp://example.com/", "http://10.0.0.1/", "http://localhost:80/", 1, "", "x" * 9]
    )
    def test_with_one_that_cannot_be_used_is_refused(self, producer: APIClient, url: object):
        answer = producer.post("/api/v1/tasks", {"name": "tag", "callback_url": url}, format="json")
        (error,) = assert_problem(answer, 400)["errors"]
        assert error["pointer"] == "/callback_url"
        assert not Task.objects.exists()


class TestTheCallbacksOfATask:
    def test_are_none_before_its_end(self, producer: APIClient):
        task_id = submit(producer, callback_url=URL)
        answer = producer.get(f"/api/v1/tasks/{task_id}/callbacks")
        assert answer.json() == {"next": None, "previous": None, "results": []}

    def test_tell_what_is_owed_and_what_came_of_it(self, producer: APIClient):
        task_id = ended(producer)
        path = f"/api/v1/tasks/{task_id}/callbacks"
        (owed,) = producer.get(path).json()["results"]
        assert owed["next_attempt_at"] == owed["created_at"]
        assert {**owed, "id": "", "created_at": "", "next_attempt_at": ""} == {
            "id": "",
            "url": URL,
            "state": "pending",
            "attempts": 0,
            "last_status": None,
            "last_error": None,
            "next_attempt_at": "",
            "created_at": "",
            "ended_at": None,
        }
        tried(503, "503 Busy")
        (failed,) = producer.get(path).json()["results"]
        assert (failed["id"], failed["state"], failed["attempts"]) == (owed["id"], "pending", 1)
        assert (failed["last_status"], failed["last_error"]) == (503, "503 Busy")
        Delivery.objects.update(next_attempt_at=database.now())
        tried(200, "")
        (delivered,) = producer.get(path).json()["results"]
        assert (delivered["state"], delivered["attempts"], delivered["last_status"]) == ("delivered", 2, 200)
        assert (delivered["last_error"], delivered["next_attempt_at"]) == (None, None)
        assert delivered["ended_at"]

    def test_are_newest_first_and_come_in_pages(self, producer: APIClient):
        task_id = ended(producer)
        for _ in range(2):
            lifecycle.retry([UUID(task_id)], database.now())
            lifecycle.cancel([UUID(task_id)], database.now())
        found, page = [], f"/api/v1/tasks/{task_id}/callbacks?limit=2"
        while page:
            answer = producer.get(page).json()
            found += [UUID(each["id"]) for each in answer["results"]]
            page = answer["next"]
        assert found == list(Delivery.objects.order_by("-id").values_list("id", flat=True))
        assert len(found) == 3

    def test_are_for_those_who_may_read_the_task(self, producer: APIClient, caller: Caller):
        task_id = ended(producer)
        path = f"/api/v1/tasks/{task_id}/callbacks"
        assert caller("operator").get(path).status_code == 200
        assert_problem(caller("producer").get(path), 404)
        assert_problem(caller("worker").get(path), 403)
        assert_problem(APIClient().get(path), 401)
        assert_problem(producer.get(f"{path}?unknown=1"), 400)


class TestTheAdmin:
    @pytest.fixture
    def delivery(self, producer: APIClient) -> Delivery:
        ended(producer)
        tried(503, "503 <script>Busy</script>")
        return Delivery.objects.get()

    def test_lists_them(self, admin_client: Client, delivery: Delivery):
        page = shown(admin_client, list_url("delivery"))
        assert "hooks.example" in page
        assert "503 &lt;script&gt;Busy" in page
        assert "<script>Busy" not in page

    @pytest.mark.parametrize(("state", "count"), [("pending", 1), ("delivered", 0), ("unknown", 1)])
    def test_filters_them_by_state(self, admin_client: Client, delivery: Delivery, state: str, count: int):
        page = shown(admin_client, f"{list_url('delivery')}?state={state}")
        assert page.count("hooks.example") == count

    def test_finds_them(self, admin_client: Client, delivery: Delivery):
        for word, found in (
            (str(delivery.id), True),
            (str(delivery.task_id), True),
            ("Hooks.Example", True),
            ("other.example", False),
            ("x" * 300, False),
        ):
            page = shown(admin_client, f"{list_url('delivery')}?q={word}")
            assert ("503 &lt;script" in page) is found, word

    def test_shows_one_and_changes_none(self, admin_client: Client, delivery: Delivery):
        page = shown(admin_client, page_url("delivery", delivery.id))
        assert "https://hooks.example/tasks?token=1" in page
        assert 'type="submit" value="Save"' not in page
        assert admin_client.post(page_url("delivery", delivery.id), {"state": "delivered"}).status_code == 403

    def test_costs_the_same_for_any_number(self, admin_client: Client, producer: APIClient, delivery: Delivery):
        from django.db import connection
        from django.test.utils import CaptureQueriesContext

        counts = []
        for _ in range(2):
            with CaptureQueriesContext(connection) as queries:
                shown(admin_client, list_url("delivery"))
            counts.append(len(queries))
            for _ in range(3):
                ended(producer)
        assert counts[0] == counts[1]
