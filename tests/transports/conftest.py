"""Callers of the API, and workers made by the same verbs as real ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from admin_rows import Scene, Stage, scene
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.db import close_old_connections
from django.test import AsyncClient, Client, override_settings
from rest_framework.test import APIClient
from waiting_requests import LONG

from queueapp import background, database, lifecycle, live, overview
from queueapp.api import base, gathering, plain
from queueapp.auth import create_key
from queueapp.domain.matching import Subscription
from queueapp.lifecycle import Choice, Report
from queueapp.models import Node, Task, WorkerSession, new_id
from queueapp.registration import Offer, Options
from queueapp.sessions import Attachment, attach, start_node
from tests.integration.fleet import Fleet
from tests.transports.conformance import faults_of_answer

Caller = Callable[..., APIClient]


@pytest.fixture(autouse=True, scope="session")
def _cheap_passwords() -> Iterator[None]:
    """To derive a key from a password takes a third of a second, by design, and more than most tests here."""
    with override_settings(PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"]):
        yield


@pytest.fixture(autouse=True, scope="session")
def _no_static_files() -> Iterator[None]:
    """Each new client looks for all of them first, which took most of the time of most tests here. That they are
    served is for tests in a browser."""
    with override_settings(SERVESTATIC_USE_FINDERS=False, SERVESTATIC_USE_STATIC_ROOT=False):
        yield


@pytest.fixture
def fleet(db: None) -> Iterator[Fleet]:
    fleet = Fleet()
    yield fleet
    fleet.unlisten()


@pytest.fixture
def stage(db: None) -> Stage:
    return Stage.started()


@pytest.fixture
def rows(db: None) -> Scene:
    return scene()


@pytest.fixture
def nothing_is_remembered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Snapshots are kept for a moment, however long one took to make; these are made of the rows of this test."""
    monkeypatch.setattr(live, "SLOWEST_SECONDS", 0.0)
    live.forget()
    yield
    live.forget()


@pytest.fixture
def nothing_new_has_waited_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is there since a minute has, and is shown among what is wrong."""
    monkeypatch.setattr(overview, "WAITING_IS_WRONG_AFTER", timedelta(seconds=50))


@pytest.fixture
def connections_are_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """As outside of tests: Channels' own tools have its threads keep theirs, for tests within one transaction."""
    monkeypatch.setattr("channels.testing.application.no_op", close_old_connections)


@pytest.fixture
def woken(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """No operation goes on by itself: here is how often its thread was woken."""
    woken: list[None] = []
    monkeypatch.setattr(background, "wake", lambda: woken.append(None))
    return woken


@pytest.fixture(autouse=True)
def _answers_are_as_described(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a test is about: what it is answered stands in the OpenAPI document."""
    ask, ask_async = Client.request, AsyncClient.request

    def request(self: Client, **request: Any) -> Any:
        response = ask(self, **request)
        assert faults_of_answer(request["REQUEST_METHOD"], request["PATH_INFO"], response) == []
        return response

    async def request_async(self: AsyncClient, **request: Any) -> Any:
        response = await ask_async(self, **request)
        assert faults_of_answer(request["method"], request["path"], response) == []
        return response

    monkeypatch.setattr(Client, "request", request)
    monkeypatch.setattr(AsyncClient, "request", request_async)


@pytest.fixture
def apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests as a server has them that come with a key: they have no thread of their own, which would keep a
    connection."""
    monkeypatch.setattr(base, "is_apart", lambda _: True)


_BY_ITSELF = pytest.param(
    "by itself", marks=pytest.mark.only_on("sqlite", reason="other tests run the views there")
)


@pytest.fixture(params=[_BY_ITSELF, "with others"])
def either_way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A plain request is served by its view, or with others that come at the same time: nobody can tell."""
    sees_what_others_commit = request.node.get_closest_marker("django_db").kwargs.get("transaction")
    if sees_what_others_commit:
        request.getfixturevalue("apart")
    if request.param == "with others":
        serve_with_others(monkeypatch)
        if not sees_what_others_commit:
            gather_on_this_thread(monkeypatch)


def serve_with_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain requests of a test's client, as those that come to a server."""
    monkeypatch.setattr(plain, "is_apart", lambda _: True)


def gather_on_this_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else sees what the transaction of a test does."""
    monkeypatch.setattr(gathering, "off_loop", lambda work: sync_to_async(work)())
    monkeypatch.setattr(plain, "later", lambda work: work())


@pytest.fixture
def caller(db: None) -> Caller:
    """A client with a fresh key: `caller("producer", "image.*")`."""

    def make(role: str, *globs: str) -> APIClient:
        _, text = create_key(f"a {role}", role, globs)
        client = APIClient()
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {text}")
        return client

    return make


@pytest.fixture
def producer(caller: Caller) -> APIClient:
    return caller("producer")


@pytest.fixture
def key(db: None) -> str:
    """The text of a producer's key."""
    return create_key("p", "producer")[1]


@pytest.fixture
def task_id(key: str) -> str:
    """A task of its own."""
    client = APIClient()
    client.credentials(HTTP_AUTHORIZATION=f"Bearer {key}")
    return submit(client)


@pytest.fixture
def slow_poll(settings: Any) -> None:
    """What is awaited comes by the doorbell, or not in time."""
    settings.WORKQUEUE = replace(settings.WORKQUEUE, poll_interval_seconds=LONG)


@pytest.fixture
def fast_poll(settings: Any) -> None:
    settings.WORKQUEUE = replace(settings.WORKQUEUE, poll_interval_seconds=0.02)


@pytest.fixture
def operator(caller: Caller) -> APIClient:
    return caller("operator")


@pytest.fixture
def admin_user_client(db: None) -> Callable[..., APIClient]:
    """A client with a session: `admin_user_client(is_staff=True)`."""

    def make(**flags: bool) -> APIClient:
        user = get_user_model().objects.create_user("ada", password="lovelace", **flags)
        client = APIClient()
        client.force_login(user)
        return client

    return make


def submit(client: APIClient, **fields: Any) -> str:
    """The id of a new task."""
    response = client.post("/api/v1/tasks", {"name": "tag", **fields}, format="json")
    assert response.status_code == 201, response.json()
    return response.json()["id"]


def attached(*names: str, extra: str = "{}", label: str = "") -> WorkerSession:
    """A worker that offers these names."""
    now = database.now()
    node_id = Node.objects.values_list("id", flat=True).first() or start_node(now)
    session_id = new_id()
    offers = tuple(Offer(Subscription.of(name), extra) for name in names)
    attach(node_id, [Attachment(session_id, Options(10, name=label), offers)], now)
    return WorkerSession.objects.get(pk=session_id)


def assign(task_id: str, session: WorkerSession) -> None:
    now = database.now()
    choice = Choice(UUID(task_id), session.id, now + timedelta(seconds=300))
    assert lifecycle.assign([choice], now)


def finish(task_id: str, session: WorkerSession, **report: Any) -> None:
    verdicts = lifecycle.finish([Report(session.id, UUID(task_id), **{"done": True, **report})], database.now())
    assert verdicts == ["accepted"]


def ids(results: Iterable[dict[str, Any]]) -> list[str]:
    return [result["id"] for result in results]


def assert_problem(response: Any, status: int) -> dict[str, Any]:
    """The problem document of a refused request."""
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == status
    assert problem["type"]
    assert problem["title"]
    assert problem["detail"]
    return problem


def state_of(task_id: str) -> str:
    return Task.objects.values_list("state", flat=True).get(pk=task_id)
