"""Requests that are served with others: what their views would answer, without them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import Mock
from uuid import UUID

import pytest
from asgiref.sync import sync_to_async
from django.db import DataError, OperationalError, ProgrammingError
from django.test import RequestFactory
from django.utils import timezone
from rest_framework.test import APIClient

from queueapp import database, lifecycle
from queueapp.api import fetching, submitting, task_requests
from queueapp.domain.rates import Rate
from queueapp.models import ApiKey, Task
from queueapp.waiting import Listening
from tests.transports.conftest import (
    Caller,
    assert_problem,
    gather_on_this_thread,
    serve_with_others,
    submit,
)

pytestmark = pytest.mark.django_db

TASKS = "/api/v1/tasks"
BODY = b'{"name": "tag", "attrs": {"cloud": "aws"}, "data": {"n": [1, 2.50, "\xc3\xbc"]}}'
OF_THIS_TASK = re.compile(rb"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9-]{10}T[0-9:.]+Z")
"""Its id, and times."""

Ask = Callable[[APIClient, str], Any]


@pytest.fixture(autouse=True)
def _on_this_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    gather_on_this_thread(monkeypatch)
    monkeypatch.setattr(task_requests, "off_loop", lambda work: sync_to_async(work)())


@pytest.fixture
def together(monkeypatch: pytest.MonkeyPatch) -> None:
    serve_with_others(monkeypatch)


@contextmanager
def nobody_asks_a_view(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        for view in ("_task_list", "_task_detail", "_submitted_task"):
            patch.setattr(task_requests, view, Mock(side_effect=AssertionError("a view was asked")))
        yield


def post(body: bytes = BODY, path: str = TASKS, **headers: str) -> Ask:
    content_type = headers.pop("content_type", "application/json")
    return lambda client, _: client.generic("POST", path, body, content_type=content_type, headers=headers)


def get(query: str = "", **headers: str) -> Ask:
    return lambda client, task_id: client.get(f"{TASKS}/{task_id}{query}", headers=headers)


PLAIN = {
    "a submission": post(),
    "one with every member": post(
        b'{"name":"tag","timeout":5,"tags":["a"],"delay":9,"expires_in":60,"unique_key":"u","concurrency_key":"c"}'
    ),
    "one that is traced": post(traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    "one that waits": post(prefer="wait=0.01"),
    "one from a command line": post(accept="*/*"),
    "a read": get(),
    "one that waits for a task": get("?wait=0.01"),
}

UNUSUAL = {
    "an array": post(b'[{"name": "tag"}]'),
    "a wrong member": post(b'{"name": "tag", "priority": 1000}'),
    "no JSON": post(b"{"),
    "no body": post(b""),
    "another kind of body": post(content_type="text/plain"),
    "a parameter": post(path=f"{TASKS}?x=1"),
    "a submission for another kind of answer": post(accept="text/html"),
    "a read for another kind of answer": get(accept="text/html"),
    "a parameter of a read": get("?x=1"),
    "a wait that is none": get("?wait=soon"),
    "a method that is none": lambda client, task_id: client.post(f"{TASKS}/{task_id}", {}, format="json"),
    "a task that there is not": lambda client, _: client.get(f"{TASKS}/00000000-0000-7000-8000-000000000000"),
    "a wrong key": lambda client, task_id: APIClient().get(
        f"{TASKS}/{task_id}", headers={"authorization": "Bearer wq_nobody"}
    ),
    "a submission with a wrong key": lambda client, _: APIClient().post(
        TASKS, {"name": "tag"}, format="json", headers={"authorization": "Bearer wq_nobody"}
    ),
}


def told(response: Any) -> tuple[int, dict[str, str], Any]:
    headers = {name: OF_THIS_TASK.sub(b"*", value.encode()).decode() for name, value in response.items()}
    headers.pop("Content-Length", None)
    return response.status_code, headers, json.loads(OF_THIS_TASK.sub(b"*", response.content))


@pytest.mark.parametrize("ask", {**PLAIN, **UNUSUAL}.values(), ids={**PLAIN, **UNUSUAL})
def test_are_answered_alike(producer: APIClient, monkeypatch: pytest.MonkeyPatch, ask: Ask) -> None:
    task_id = submit(producer, data={"n": [1, 2.5]})
    alone = told(ask(producer, task_id))
    Task.objects.filter(unique_key="u").delete()
    serve_with_others(monkeypatch)
    assert told(ask(producer, task_id)) == alone


@pytest.mark.usefixtures("together")
class TestPlainOnes:
    @pytest.mark.parametrize("ask", PLAIN.values(), ids=PLAIN)
    def test_ask_no_view(self, producer: APIClient, monkeypatch: pytest.MonkeyPatch, ask: Ask) -> None:
        task_id = submit(producer)
        with nobody_asks_a_view(monkeypatch):
            assert ask(producer, task_id).status_code in (200, 201)

    def test_about_a_large_task_ask_the_view(self, producer: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(fetching, "LARGEST_BYTES", 10)
        small, large = submit(producer, data="x" * 8), submit(producer, data="x" * 9)
        assert get()(producer, large).json()["data"] == "x" * 9
        with nobody_asks_a_view(monkeypatch):
            assert get()(producer, small).json()["data"] == "x" * 8
            with pytest.raises(AssertionError, match="a view was asked"):
                get()(producer, large)

    def test_of_a_key_that_may_not_ask_are_refused(self, producer: APIClient) -> None:
        task_id = submit(producer)
        ApiKey.objects.update(role="worker")
        assert_problem(post()(producer, ""), 403)
        assert_problem(get()(producer, task_id), 403)
        assert Task.objects.count() == 1

    def test_are_counted_once_also_where_the_view_refuses_them(self, producer: APIClient, settings: Any) -> None:
        settings.WORKQUEUE = replace(settings.WORKQUEUE, throttle=Rate("2/h"))
        assert_problem(post(b'{"name": ""}')(producer, ""), 400)
        assert post()(producer, "").status_code == 201
        assert_problem(post()(producer, ""), 429)

    def test_note_that_their_key_is_used(self, producer: APIClient) -> None:
        task_id = submit(producer)
        ApiKey.objects.update(last_used_at=None)
        get()(producer, task_id)
        assert ApiKey.objects.get().last_used_at is not None
        ApiKey.objects.update(last_used_at=None)
        post()(producer, "")
        assert ApiKey.objects.get().last_used_at is not None

    def test_are_for_a_unique_key_that_is_taken_too(
        self, producer: APIClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        task_id = submit(producer, unique_key="u")
        with nobody_asks_a_view(monkeypatch):
            response = post(b'{"name": "tag", "unique_key": "u"}')(producer, "")
        assert (response.status_code, response.json()["id"]) == (200, task_id)

    def test_that_wait_in_vain_do_not_wait_again(
        self, producer: APIClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The task is asked for again after the wait, and by the view if that fails."""
        task_id = submit(producer)
        waits: list[float] = []

        async def until_terminal(self: Listening, task_id: UUID, seconds: float) -> None:
            waits.append(seconds)
            monkeypatch.setattr(fetching, "tasks_with_keys", Mock(side_effect=OperationalError("it is away")))

        monkeypatch.setattr(Listening, "until_terminal", until_terminal)
        assert get("?wait=5")(producer, task_id).json()["state"] == "pending"
        assert waits == [5]

    def test_do_not_wait_for_what_has_ended(self, producer: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
        task_id = submit(producer)
        lifecycle.cancel([UUID(task_id)], database.now())
        monkeypatch.setattr(Listening, "until_terminal", Mock(side_effect=AssertionError("it has ended")))
        assert get("?wait=5")(producer, task_id).json()["state"] == "cancelled"

    def test_whose_key_is_revoked_while_they_wait_are_refused(
        self, producer: APIClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def until_terminal(self: Listening, task_id: UUID, seconds: float) -> None:
            await sync_to_async(ApiKey.objects.update)(revoked_at=timezone.now())

        monkeypatch.setattr(Listening, "until_terminal", until_terminal)
        assert_problem(post(prefer="wait=5")(producer, ""), 401)

    def test_with_an_idempotency_key_are_carried_out_once(self, producer: APIClient) -> None:
        first, again = (post(**{"idempotency-key": "k"})(producer, "") for _ in range(2))
        assert first.content == again.content
        assert Task.objects.count() == 1


def stored(*asked: tuple[APIClient, bytes]) -> list[Any]:
    """What comes of submissions that are served in one go: who asks, and the body of each."""
    requests = RequestFactory()
    return submitting._store(
        [
            submitting._Asked(
                client._credentials["HTTP_AUTHORIZATION"].removeprefix("Bearer "),
                requests.generic("POST", TASKS, body, content_type="application/json"),
                waits=False,
            )
            for client, body in asked
        ]
    )


class TestSeveralInOneGo:
    def test_are_each_stored_for_their_own_key(self, caller: Caller) -> None:
        one, other = caller("producer"), caller("producer")
        answers = stored((one, BODY), (other, BODY), (one, BODY))
        assert [one.get(f"{TASKS}/{each.task_id}").status_code for each in answers] == [200, 404, 200]
        assert [other.get(f"{TASKS}/{each.task_id}").status_code for each in answers] == [404, 200, 404]
        assert [json.loads(each.document)["id"] for each in answers] == [str(each.task_id) for each in answers]

    def test_are_stored_without_those_that_are_for_the_view(self, caller: Caller) -> None:
        one, bounded, worker = caller("producer"), caller("producer", "other"), caller("worker")
        nobody = APIClient()
        nobody.credentials(HTTP_AUTHORIZATION="Bearer wq_nobody")
        wrong = b'{"name": "tag", "priority": 1000}'
        answers = stored((one, wrong), (one, BODY), (bounded, BODY), (worker, BODY), (nobody, BODY), (one, BODY))
        assert [each is not None for each in answers] == [False, True, False, False, False, True]
        assert Task.objects.count() == 2

    def test_are_one_task_where_they_have_one_unique_key(self, caller: Caller) -> None:
        one, other = caller("producer"), caller("producer")
        body = b'{"name": "tag", "unique_key": "u"}'
        first, second, others = stored((one, body), (one, body), (other, body))
        assert (first.is_new, second.is_new) == (True, False)
        assert second[::2] == first[::2]
        assert others is None  # for the view, which says whose it is
        assert Task.objects.count() == 1

    def test_that_are_known_not_to_be_stored_are_left_to_their_views(
        self, producer: APIClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for error in (DataError("one of them"), OperationalError("database is locked")):
            monkeypatch.setattr(lifecycle, "submit", Mock(side_effect=error))
            monkeypatch.setattr(submitting, "is_known_to_be_undone", lambda _: True)
            assert stored((producer, BODY), (producer, BODY)) == [None, None]

    def test_that_cannot_be_read_once_they_are_stored_are_not_stored_again(
        self, producer: APIClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(submitting, "tasks_by_id", Mock(side_effect=ProgrammingError("no such column")))
        answers = stored((producer, BODY), (producer, b"{"), (producer, BODY))
        assert [type(each) for each in answers] == [ProgrammingError, type(None), ProgrammingError]
        assert Task.objects.count() == 2

    def test_that_are_no_more_once_they_are_read_have_receipts(
        self, producer: APIClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(submitting, "tasks_by_id", lambda _: {})
        (answer,) = stored((producer, BODY))
        assert json.loads(answer.document) == {"count": 1, "ids": [str(answer.task_id)]}


@pytest.mark.usefixtures("together")
class TestWithTheDatabaseAway:
    def test_a_submission_that_may_be_stored_is_not_tried_again(
        self, producer: APIClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The connection may have ended after the commit."""
        submit_all = lifecycle.submit

        def submit_and_lose(*arguments: Any) -> Any:
            submit_all(*arguments)
            raise OperationalError("the connection is gone")

        monkeypatch.setattr(lifecycle, "submit", submit_and_lose)
        monkeypatch.setattr(submitting, "is_known_to_be_undone", lambda _: False)
        response = post()(producer, "")
        assert_problem(response, 503)
        assert response["Retry-After"] == "1"
        assert Task.objects.count() == 1

    def test_a_read_does_not_ask_a_view_too(self, producer: APIClient, monkeypatch: pytest.MonkeyPatch) -> None:
        """Which would wait for a connection again, and all in the same go for each other."""
        task_id = submit(producer)
        monkeypatch.setattr(fetching, "tasks_with_keys", Mock(side_effect=OperationalError("it is away")))
        with nobody_asks_a_view(monkeypatch):
            response = get()(producer, task_id)
        assert_problem(response, 503)
        assert response["Allow"] == "GET, HEAD"

    def test_a_read_that_fails_otherwise_is_left_to_the_view(
        self, producer: APIClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        task_id = submit(producer)
        monkeypatch.setattr(fetching, "tasks_with_keys", Mock(side_effect=ProgrammingError("no such column")))
        assert get()(producer, task_id).json()["id"] == task_id
