"""For every path and method of the project, who is answered what. One that has no decision here fails."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.urls import URLPattern, get_resolver
from rest_framework.test import APIClient

from queueapp.auth import create_key
from queueapp.models import WorkerSession
from tests.transports.conftest import Caller, assert_problem, attached, submit

pytestmark = pytest.mark.django_db

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
SAFE = "GET"

CALLERS = (
    "nobody",  # no credential
    "wrong key",
    "worker",
    "owner",  # the producer whose task it is
    "stranger",  # another producer
    "elsewhere",  # a producer for other names
    "operator",
    "operator elsewhere",  # an operator for other names
    "user",  # of no staff
    "staff",  # without a permission
    "viewer",  # staff that may view
    "editor",  # staff that may change and add
)

OPEN = "everybody"

DECISIONS: dict[str, dict[str, str]] = {
    "": {"GET": OPEN},
    "healthz": {"GET": OPEN},
    "readyz": {"GET": OPEN},
    "work/list": {"GET": "401 401 403 200 200 200 200 200 403 403 200 200"},
    "api/v1/tasks": {
        "GET": "401 401 403 200 200 200 200 200 403 403 200 200",
        "POST": "401 401 403 201 201 403 201 403 403 403 403 201",
    },
    "api/v1/tasks/<uuid:task_id>": {"GET": "401 401 403 200 404 404 200 404 403 403 200 200"},
    "api/v1/tasks/<uuid:task_id>/attempts": {"GET": "401 401 403 200 404 404 200 404 403 403 200 200"},
    "api/v1/tasks/<uuid:task_id>/explain": {"GET": "401 401 403 200 404 404 200 404 403 403 200 200"},
    "api/v1/tasks/<uuid:task_id>/callbacks": {"GET": "401 401 403 200 404 404 200 404 403 403 200 200"},
    "api/v1/tasks/<uuid:task_id>/events": {"GET": "401 401 403 200 404 404 200 404 403 403 200 200"},
    "api/v1/route": {"POST": "401 401 403 200 200 403 200 403 403 403 200 200"},
    # 202 for all who may ask: an operation is over those of the tasks only that they may touch
    "api/v1/tasks/cancel": {"POST": "401 401 403 202 202 202 202 202 403 403 403 202"},
    "api/v1/tasks/retry": {"POST": "401 401 403 202 202 202 202 202 403 403 403 202"},
    "api/v1/operations": {"GET": "401 401 403 200 200 200 200 200 403 403 200 200"},
    "api/v1/operations/<uuid:operation_id>": {"GET": "401 401 403 200 404 404 200 404 403 403 200 200"},
    "api/v1/operations/<uuid:operation_id>/stop": {"POST": "401 401 403 200 404 404 200 404 403 403 403 200"},
    "api/v1/schema": {"GET": OPEN},
    "api/v1/docs": {"GET": OPEN},
    "metrics": {"GET": OPEN},
    "api/v1/tasks/<uuid:task_id>/cancel": {"POST": "401 401 403 200 404 404 200 404 403 403 403 200"},
    # 409: allowed, and the task is pending
    "api/v1/tasks/<uuid:task_id>/retry": {"POST": "401 401 403 409 404 404 409 404 403 403 403 409"},
    "api/v1/workers": {"GET": "401 401 403 200 200 200 200 200 403 403 200 200"},
    "api/v1/workers/<uuid:session_id>": {"GET": "401 401 403 200 200 404 200 404 403 403 200 200"},
    "api/v1/workers/<uuid:session_id>/drain": {"POST": "401 401 403 403 403 403 200 404 403 403 403 200"},
    "api/v1/workers/<uuid:session_id>/disconnect": {"POST": "401 401 403 403 403 403 200 404 403 403 403 200"},
    "api/v1/queues": {"GET": "401 401 403 200 200 200 200 200 403 403 200 200"},
    "api/v1/queues/<str:name>": {
        "GET": "401 401 403 200 200 403 200 403 403 403 200 200",
        "PATCH": "401 401 403 403 403 403 200 403 403 403 403 200",
    },
    "api/v1/queues/<str:name>/pause": {"POST": "401 401 403 403 403 403 200 403 403 403 403 200"},
    "api/v1/queues/<str:name>/resume": {"POST": "401 401 403 403 403 403 200 403 403 403 403 200"},
}

NO_PATH = ("^api/", "^work/", "api/v1/")
"""What stands for all other paths there: 404, whoever asks."""

BODIES = dict.fromkeys(
    ("api/v1/tasks", "api/v1/route", "api/v1/tasks/cancel", "api/v1/tasks/retry"), b'{"name": "tag"}'
)
LISTS = ("work/list", "api/v1/tasks", "api/v1/workers", "api/v1/queues", "api/v1/operations")


def routes() -> Iterator[str]:
    """Every path of the project but those of the admin, which has its own permissions."""

    def walk(patterns: Any, before: str) -> Iterator[str]:
        for each in patterns:
            route = before + str(each.pattern)
            if isinstance(each, URLPattern):
                yield route
            elif route != "admin/":
                yield from walk(each.url_patterns, route)

    return walk(get_resolver().url_patterns, "")


KNOWN = [route for route in routes() if route not in NO_PATH]
DECIDED = [(route, method) for route in KNOWN for method in DECISIONS.get(route, ())]
GUARDED = [(route, method) for route, method in DECIDED if DECISIONS[route][method] != OPEN]
STREAMS = "api/v1/tasks/<uuid:task_id>/events"


def asked(*values: str) -> Any:
    """The values for a test. A stream is read on a thread of its own, which sees only what is committed."""
    return (
        pytest.param(*values, marks=pytest.mark.django_db(transaction=True))
        if STREAMS in values
        else pytest.param(*values)
    )


@dataclass
class Scene:
    """A pending task `tag` of the owner's, an operation on such tasks, and a worker that offers them;
    `client(caller)` is one of the callers."""

    owner: APIClient
    operator: APIClient
    task_id: str
    operation_id: str
    worker: WorkerSession
    make: Caller

    @property
    def ids(self) -> dict[str, str]:
        return {
            "uuid:task_id": self.task_id,
            "uuid:session_id": str(self.worker.id),
            "uuid:operation_id": self.operation_id,
        }

    def path(self, route: str) -> str:
        named = {**self.ids, "str:name": "tag"}
        for name, value in named.items():
            route = route.replace(f"<{name}>", value)
        return "/" + route

    def client(self, caller: str) -> APIClient:
        match caller:
            case "owner":
                return self.owner
            case "operator":
                return self.operator
            case "nobody":
                return APIClient()
            case "wrong key":
                return APIClient(HTTP_AUTHORIZATION=f"Bearer {create_key('k', 'operator')[1]}x")
            case "worker":
                return self.make("worker")
            case "stranger":
                return self.make("producer")
            case "elsewhere":
                return self.make("producer", "other.*")
            case "operator elsewhere":
                return self.make("operator", "other.*")
            case "user":
                return of_user(is_staff=False)
            case "staff":
                return of_user()
            case "viewer":
                return of_user("view")
            case "editor":
                return of_user("change", "add")
        raise AssertionError(caller)


def of_user(*verbs: str, is_staff: bool = True, **options: bool) -> APIClient:
    user = get_user_model().objects.create(username="ada", is_staff=is_staff)
    for verb in verbs:
        user.user_permissions.add(*Permission.objects.filter(codename__startswith=f"{verb}_"))
    client = APIClient(**options)
    client.force_login(user)
    return client


@pytest.fixture
def scene(caller: Caller) -> Scene:
    owner = caller("producer")
    task_id = submit(owner)
    operation_id = owner.post("/api/v1/tasks/cancel", {"name": "tag"}, format="json").json()["id"]
    return Scene(owner, caller("operator"), task_id, operation_id, attached("tag"), caller)


def decided(route: str, method: str, who: str) -> int:
    return dict(zip(CALLERS, map(int, DECISIONS[route][method].split()), strict=True))[who]


def ask(client: APIClient, method: str, path: str, route: str) -> Any:
    return client.generic(method, path, BODIES.get(route, b""), content_type="application/json")


def test_every_path_has_a_decision():
    assert sorted(KNOWN) == sorted(DECISIONS)


@pytest.mark.parametrize(("route", "method"), [asked(*each) for each in GUARDED])
@pytest.mark.parametrize("who", CALLERS)
def test_it_is_kept(scene: Scene, route: str, method: str, who: str) -> None:
    expected = decided(route, method, who)
    response = ask(scene.client(who), method, scene.path(route), route)
    if expected < 400:
        assert response.status_code == expected, response.content
        return
    assert_problem(response, expected)
    assert ("WWW-Authenticate" in response) is (expected == 401)
    assert scene.task_id not in response.json()["detail"] or scene.task_id in scene.path(route)


@pytest.mark.parametrize(("route", "method"), sorted({*DECIDED} - {*GUARDED}))
def test_an_open_path_asks_nobody_who_he_is(route: str, method: str) -> None:
    assert APIClient().generic(method, "/" + route).status_code in (200, 302)


@pytest.mark.parametrize("route", [asked(each) for each in sorted({route for route, _ in GUARDED})])
def test_a_method_without_a_decision_is_allowed_to_nobody(scene: Scene, route: str) -> None:
    for method in METHODS:
        if method not in DECISIONS[route]:
            assert_problem(ask(scene.operator, method, scene.path(route), route), 405)
            assert_problem(ask(APIClient(), method, scene.path(route), route), 401)


@pytest.mark.parametrize("route", sorted({route for route, _ in GUARDED}))
def test_what_a_path_can_do_is_told_to_nobody_without_a_key(scene: Scene, route: str) -> None:
    assert_problem(APIClient().options(scene.path(route)), 401)


@pytest.mark.parametrize("path", ["/api/", "/api/v1/", "/api/v1/secrets", "/api/v1/tasks/17"])
@pytest.mark.parametrize("method", METHODS)
def test_no_path_is_none_for_everybody(scene: Scene, path: str, method: str) -> None:
    for who in ("nobody", "worker", "owner", "operator"):
        assert_problem(scene.client(who).generic(method, path), 404)


@pytest.mark.parametrize("route", LISTS)
@pytest.mark.parametrize("who", ["elsewhere", "operator elsewhere"])
def test_a_list_has_nothing_for_who_has_no_right_to_anything_in_it(scene: Scene, route: str, who: str) -> None:
    assert "tag" not in ask(scene.client(who), "GET", scene.path(route), "").content.decode()


def test_a_producer_lists_no_task_of_anothers(scene: Scene) -> None:
    stranger = scene.client("stranger")
    assert stranger.get("/api/v1/tasks").json()["results"] == []
    assert stranger.get("/work/list").json() == []
    assert stranger.get("/api/v1/operations").json()["results"] == []


@pytest.mark.parametrize(
    ("route", "method", "who"),
    [
        asked(route, method, who)
        for route, method in GUARDED
        for who in ("stranger", "elsewhere", "operator elsewhere")
        if "uuid:" in route and decided(route, method, who) >= 400
    ],
)
def test_what_somebody_may_not_see_is_answered_as_what_does_not_exist(
    scene: Scene, route: str, method: str, who: str
) -> None:
    client, nothing = scene.client(who), "00000000-0000-7000-8000-000000000000"
    there = ask(client, method, scene.path(route), route)
    scene_id = next(value for name, value in scene.ids.items() if name in route)
    not_there = ask(client, method, scene.path(route).replace(scene_id, nothing), route)
    assert there.status_code == not_there.status_code
    assert there.content.decode().replace(scene_id, nothing) == not_there.content.decode()


@pytest.mark.parametrize(("route", "method"), [pair for pair in GUARDED if pair[1] != SAFE])
def test_a_session_changes_nothing_for_another_site(scene: Scene, route: str, method: str) -> None:
    """A browser sends the cookie along with a form of any site; the token it does not have."""
    client = of_user("change", "add", enforce_csrf_checks=True)
    assert "CSRF" in assert_problem(ask(client, method, scene.path(route), route), 403)["detail"]
