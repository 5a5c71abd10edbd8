"""What the roles may do, at every path and by every method. New paths fall under this by themselves."""

from __future__ import annotations

import re
from typing import Any

import pytest
from admin_rows import Scene, Stage, act, list_url, page_url, scene
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.test import Client, RequestFactory
from django.urls import reverse
from harm import ACTIONS, JSON, content, harm_done, patterns
from people import NEW_PASSWORD

from queueapp import callbacks, lifecycle
from queueapp.auth import create_key
from queueapp.domain.submission import Submission
from queueapp.models import ApiKey, AuditEntry, Delivery, Operation

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("woken")]
"""Some paths read on a thread of their own, which sees only what is committed."""

BUTTON = re.compile(r'name="(action|_save)"')
"""Of a list's actions, of a row's, of a form."""


@pytest.fixture(autouse=True)
def _answers_are_as_described() -> None:
    """Not here: which method is refused for what reason is said elsewhere."""


@pytest.fixture
def rows() -> Scene:
    rows = scene()
    create_key("ci", "producer")
    Operation.objects.create(action="cancel", filter={"all": True}, asked_by="ada", created_at=rows.stage.now)
    get_user_model().objects.create_superuser("root", "root@example.com", "secret")
    give_up_a_callback(rows.stage)
    return rows


def give_up_a_callback(stage: Stage) -> None:
    submission = Submission("tag", {}, "1", callback_url="https://hooks.example/x")
    lifecycle.cancel([lifecycle.submit([submission], None, stage.now)[0].task_id], stage.now)
    at = stage.now + callbacks.GIVEN_UP_AFTER
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


def assert_none(harm: list[tuple[Any, ...]]) -> None:
    assert not harm, "\n".join(map(str, harm))


class TestAViewer:
    @pytest.mark.only_on(
        "sqlite", reason="thousands of requests, which are refused before they come to the database"
    )
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
        new_user = {"username": "eve", **NEW_PASSWORD}
        assert client.post(reverse("admin:auth_user_add"), new_user).status_code == 302
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
