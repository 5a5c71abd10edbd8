"""What the roles may do, at every path and by every method. New paths fall under this by themselves."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import product
from typing import Any
from urllib.parse import urlencode

import pytest
from admin_rows import Fleet, Scene, act, list_url, page_url, scene
from django.apps import apps
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db import connection
from django.test import Client, RequestFactory
from django.urls import URLPattern, get_resolver, reverse

from queueapp import callbacks, lifecycle
from queueapp.auth import create_key
from queueapp.domain.submission import Submission
from queueapp.models import ApiKey, AuditEntry, Delivery, Operation

pytestmark = pytest.mark.django_db(transaction=True)
"""Some paths read on a thread of their own, which sees only what is committed."""

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
READING = ("GET", "OPTIONS")

OWN = ("admin:logout", "admin:password_change")
"""What a user may do to its own session and password, whatever its role."""

READ_BY_ANY_METHOD = re.compile(
    r"admin:(index|login|jsi18n|autocomplete|app_list|password_change_done|\w+_changelist|\w+_history)$|api:route$"
)
"""What changes nothing whoever asks: Django's pages that take a POST for a GET, and a question that has a body."""

ACTIONS = (
    "cancel",
    "retry",
    "drain",
    "disconnect",
    "pause",
    "resume",
    "revoke",
    "stop",
    "try_again",
    "delete_selected",
)
TRIED = {
    "post": "yes",
    "confirmed": "1",
    "index": "0",
    "select_across": "1",
    "filter": '{"all": true}',
    "priority": "7",
    "name": "tag",
    "note": "by somebody who may not",
    "concurrency": "7",
    "username": "eve",
    "role": "operator",
}
"""What is found in one form or another."""

BUTTON = re.compile(r'name="(action|_save)"')
"""Of a list's actions, of a row's, of a form."""

FORM, JSON = "application/x-www-form-urlencoded", "application/json"


@pytest.fixture(autouse=True)
def _answers_are_as_described() -> None:
    """Not here: which method is refused for what reason is said elsewhere."""


@pytest.fixture
def rows() -> Scene:
    rows = scene()
    create_key("ci", "producer")
    Operation.objects.create(action="cancel", filter={"all": True}, asked_by="ada", created_at=rows.fleet.now)
    get_user_model().objects.create_superuser("root", "root@example.com", "secret")
    give_up_a_callback(rows.fleet)
    return rows


def give_up_a_callback(fleet: Fleet) -> None:
    submission = Submission("tag", {}, "1", callback_url="https://hooks.example/x")
    lifecycle.cancel([lifecycle.submit([submission], None, fleet.now)[0].task_id], fleet.now)
    at = fleet.now + callbacks.GIVEN_UP_AFTER
    callbacks.claim(1, {}, at)
    delivery = Delivery.objects.get()
    callbacks.settle([callbacks.Result(delivery.pk, 1, delivery.created_at, 500, "500: no")], at)


def member_of(role: str) -> Client:
    """A session of somebody whose only rights are those of the role."""
    user = get_user_model().objects.create_user(role, password="secret", is_staff=True)
    user.groups.add(Group.objects.get(name=role))
    client = Client(raise_request_exception=False)
    client.force_login(user)
    return client


def patterns() -> Iterator[tuple[str, str, list[tuple[str, str]]]]:
    """Every path of the project: its full name, and its route with the names and kinds of its arguments."""

    def walk(found: Any, route: str, namespace: str, arguments: list[tuple[str, str]]) -> Iterator[Any]:
        for each in found:
            here = route + _template(each.pattern)
            all_arguments = arguments + [
                (name, type(converter).__name__) for name, converter in each.pattern.converters.items()
            ]
            if isinstance(each, URLPattern):
                yield f"{namespace}{each.name or ''}", here, all_arguments
            else:
                inner = f"{namespace}{each.namespace}:" if each.namespace else namespace
                yield from walk(each.url_patterns, here, inner, all_arguments)

    return walk(get_resolver().url_patterns, "/", "", [])


def _template(pattern: Any) -> str:
    """`tasks/<uuid:task_id>` as `tasks/{task_id}`; of a regular expression one path that it matches."""
    text = str(pattern)
    if pattern.converters or "(" not in text:
        return re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", text).lstrip("^").rstrip("$")
    return text.replace("(?P<app_label>auth|queueapp)", "queueapp").replace("(?P<url>.*)$", "nowhere").strip("^$")


def addresses(rows: Scene) -> list[tuple[str, str]]:
    """Each path with each of the rows that its arguments could mean: an argument of a kind that is not known here
    has to be taught."""
    uuids = [rows.pending, rows.assigned, rows.failed, rows.worker, Operation.objects.get().pk]
    numbers = [get_user_model().objects.get(username="root").pk, ApiKey.objects.get().pk]
    values = {
        "UUIDConverter": uuids,
        "IntConverter": numbers,
        "StringConverter": ["tag", "1h", rows.pending],
        "SlugConverter": ["tag"],
        "PathConverter": [rows.pending, rows.worker, *set(numbers), "tag"],
    }
    found = []
    for name, route, arguments in patterns():
        for chosen in product(*(values[kind] for _, kind in arguments)):
            found.append((name, route.format(**dict(zip((n for n, _ in arguments), chosen, strict=True)))))
    return sorted(set(found))


class Writes:
    """The statements that write to anything but what a session needs."""

    OWN = ("django_session", "last_login", "SAVEPOINT", "RELEASE", "ROLLBACK")

    def __init__(self) -> None:
        self.statements: list[str] = []

    def __call__(self, execute: Any, sql: str, parameters: Any, many: bool, context: Any) -> Any:
        first = sql.lstrip("( \n").split(None, 1)[0].upper()
        writes = first in ("INSERT", "UPDATE", "DELETE") or re.search(r"\b(INSERT INTO|DELETE FROM)\b", sql)
        if writes and not any(own in sql for own in self.OWN):
            self.statements.append(sql[:200])
        return execute(sql, parameters, many, context)


@contextmanager
def noting_writes() -> Iterator[Writes]:
    writes = Writes()
    with connection.execute_wrapper(writes):
        yield writes


def content() -> dict[str, list[Any]]:
    """All that is in the database, but for the sessions."""
    models = [model for model in apps.get_models() if model._meta.label not in ("sessions.Session",)]
    return {
        model._meta.label: [
            {key: value for key, value in row.items() if key != "last_login"}
            for row in model._base_manager.order_by("pk").values()
        ]
        for model in models
    }


def bodies(rows: Scene, name: str, address: str) -> list[tuple[str, str]]:
    """What is posted there: JSON to the API, to a page a form, to a list one with each of the actions."""
    if not address.startswith("/admin/"):
        return [(JSON, '{"name": "tag"}'), (JSON, "")]
    keys = [str(key) for key in keys_of(rows, name)]
    actions = ACTIONS if name.endswith("_changelist") else ACTIONS[:1]
    return [(FORM, urlencode({**TRIED, "action": action, "_selected_action": keys}, True)) for action in actions]


def keys_of(rows: Scene, name: str) -> list[Any]:
    """The rows that a list's actions are tried on: a list refuses all when one is no key of its own."""
    of_lists = {
        "operation": [each.pk for each in Operation.objects.all()],
        "delivery": [each.pk for each in Delivery.objects.all()],
        "apikey": [each.pk for each in ApiKey.objects.all()],
        "workersession": [rows.worker],
        "queue": ["tag"],
    }
    others = [rows.pending, rows.failed, rows.worker, "tag", *of_lists["apikey"]]
    return next((keys for model, keys in of_lists.items() if name.endswith(f"_{model}_changelist")), others)


def harm_done(rows: Scene, client: Client, among: str = "") -> list[tuple[Any, ...]]:
    """What was written, and what was not refused, when all is tried at every path whose name has `among` in it."""
    harm: list[tuple[Any, ...]] = []
    with noting_writes() as writes:
        for name, address in addresses(rows):
            if name in OWN or not re.search(among, name):
                continue
            for method in METHODS:
                for kind, body in bodies(rows, name, address) if method == "POST" else [(JSON, "{}")]:
                    status = client.generic(method, address, body, content_type=kind).status_code
                    if writes.statements or not _is_harmless(name, method, status):
                        harm.append((method, address, status, body[:40], *writes.statements[:1]))
                        writes.statements.clear()
    return harm


class TestAViewer:
    def test_changes_nothing_at_any_path_by_any_method(self, rows: Scene) -> None:
        client, before = member_of("Viewer"), content()
        assert_none(harm_done(rows, client))
        assert content() == before

    def test_may_read_every_page(self, rows: Scene) -> None:
        client = member_of("Viewer")
        for model in ("task", "workersession", "queue", "apikey", "auditentry", "node", "delivery", "attempt"):
            assert client.get(list_url(model)).status_code == 200
        assert 'id="overview"' in client.get("/admin/").content.decode()

    def test_finds_no_button(self, rows: Scene) -> None:
        addresses = [list_url("task"), list_url("queue"), page_url("task", rows.pending), page_url("queue", "tag")]
        addresses.append(page_url("workersession", rows.worker))
        for role, sees in (("Viewer", False), ("Operator", True)):
            client = member_of(role)
            assert {bool(BUTTON.search(client.get(each).content.decode())) for each in addresses} == {sees}


def _is_harmless(name: str, method: str, status: int) -> bool:
    if method in READING:
        return status < 500
    if status in (301, 302, 403, 404, 405):
        return True
    return status < 500 and bool(READ_BY_ANY_METHOD.match(name))


def assert_none(harm: list[tuple[Any, ...]]) -> None:
    assert not harm, "\n".join(map(str, harm))


class TestAnOperator:
    def test_steers(self, rows: Scene) -> None:
        client = member_of("Operator")
        assert act(client, "task", "cancel", rows.pending) == ["1 task cancelled."]
        assert act(client, "workersession", "drain", rows.worker, confirmed="1") == [
            "1 worker session told to drain."
        ]
        assert act(client, "queue", "pause", "tag") == ["1 queue paused."]
        assert client.post(page_url("queue", "tag"), {"concurrency": "7"}).status_code == 302
        assert client.post(f"/api/v1/tasks/{rows.failed}/retry").status_code == 200
        assert client.post("/api/v1/tasks/cancel", '{"name": "tag"}', content_type=JSON).status_code == 202
        assert client.post(f"/api/v1/operations/{Operation.objects.earliest('pk').pk}/stop").status_code == 200

    def test_touches_neither_keys_nor_users_nor_the_log(self, rows: Scene) -> None:
        client = member_of("Operator")
        touched = (ApiKey, get_user_model(), Group, AuditEntry)
        before = [content()[model._meta.label] for model in touched]
        assert_none(harm_done(rows, client, among="apikey|auth_|auditentry"))
        assert [content()[model._meta.label] for model in touched] == before


class TestAnAdministrator:
    def test_steers_and_gives_access(self, rows: Scene) -> None:
        client = member_of("Administrator")
        assert act(client, "task", "cancel", rows.pending) == ["1 task cancelled."]
        add_key = reverse("admin:queueapp_apikey_add")
        assert client.post(add_key, {"name": "new", "role": "worker"}).status_code == 200
        new = ApiKey.objects.get(name="new").pk
        assert "1 API key revoked." in act(client, "apikey", "revoke", new, confirmed=1)
        password = "a-very-long-one"
        form = {"username": "eve", "password1": password, "password2": password, "usable_password": "true"}
        assert client.post(reverse("admin:auth_user_add"), form).status_code == 302
        eve = get_user_model().objects.get(username="eve")
        assert client.post(reverse("admin:auth_user_delete", args=[eve.pk]), {"post": "yes"}).status_code == 302

    def test_has_no_hand_in_the_log(self, rows: Scene) -> None:
        act(member_of("Operator"), "task", "cancel", rows.pending)
        assert_none(harm_done(rows, member_of("Administrator"), among="auditentry"))
        assert AuditEntry.objects.count() == 1


class TestThisTest:
    """It would see harm."""

    def test_finds_every_page_of_the_admin_and_every_path_of_the_api(self) -> None:
        names = {name for name, _, _ in patterns()}
        assert {"admin:queueapp_task_changelist", "admin:auth_user_add", "api:cancel-tasks", "work-list"} <= names

    def test_sees_what_one_with_rights_does(self, rows: Scene) -> None:
        assert harm_done(rows, member_of("Administrator"), among="apikey_changelist")
        client = member_of("Operator")
        for among in ("queue_changelist", "operation_changelist", "delivery_changelist", "api:cancel-tasks"):
            assert harm_done(rows, client, among=among), among

    def test_tries_every_action_of_every_list(self, rows: Scene, rf: RequestFactory) -> None:
        request = rf.get("/admin/")
        request.user = get_user_model().objects.get(username="root")
        lists = admin.site._registry.values()
        assert {name for each in lists for name in each.get_actions(request)} <= set(ACTIONS)
