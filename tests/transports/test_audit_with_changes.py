"""A change of an operator and its entry in the audit log: both, or neither."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from admin_rows import Scene, act, list_url, page_url
from audit_log import entries
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.db import OperationalError
from django.test import Client
from django.urls import reverse
from people import NEW_PASSWORD, own_password, password_url
from rest_framework.test import APIClient

from queueapp import lifecycle
from queueapp.auth import create_key
from queueapp.models import ApiKey, AuditEntry, Operation, Queue, Task, WorkerSession

pytestmark = pytest.mark.django_db(transaction=True)
"""Verbs are retried outside of a transaction, as in a request."""


class TestChangeAndEntry:
    @pytest.fixture
    def broken_log(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*args: Any, **columns: Any) -> None:
            raise OperationalError("no room on the disk")

        monkeypatch.setattr(AuditEntry.objects, "create", fail)

    def test_what_cannot_be_recorded_is_not_done(
        self, admin_client: Client, rows: Scene, broken_log: None
    ) -> None:
        create_key("ci", "worker")
        before = everything()
        client = APIClient(raise_request_exception=False)
        client.force_login(get_user_model().objects.get())
        admin_client.raise_request_exception = False
        steps: list[Callable[[], Any]] = [
            lambda: act_quietly(admin_client, "task", "cancel", rows.pending),
            lambda: act_quietly(admin_client, "workersession", "disconnect", rows.worker),
            lambda: act_quietly(admin_client, "queue", "pause", "tag"),
            lambda: admin_client.post("/admin/queueapp/queue/tag/pause/", {"note": "why"}),
            lambda: act_quietly(admin_client, "apikey", "revoke", ApiKey.objects.get().pk, confirmed=1),
            lambda: admin_client.post(page_url("queue", "tag"), {"concurrency": "7"}),
            lambda: admin_client.post(reverse("admin:queueapp_apikey_add"), {"name": "x", "role": "worker"}),
            lambda: client.post(f"/api/v1/tasks/{rows.failed}/retry"),
            lambda: client.post(f"/api/v1/workers/{rows.worker}/drain"),
            lambda: client.post("/api/v1/queues/tag/pause"),
            lambda: client.patch("/api/v1/queues/tag", {"concurrency": 7}, format="json"),
            lambda: client.post("/api/v1/tasks/cancel", {"name": "tag"}, format="json"),
            lambda: client.post("/api/v1/tasks", {"name": "tag"}, format="json"),
        ]
        assert {step().status_code for step in steps} <= {500, 503}
        assert everything() == before

    def test_nobody_is_given_a_password_or_deleted_without_an_entry(
        self, admin_client: Client, broken_log: None
    ) -> None:
        people = get_user_model().objects
        eve = people.create_user("eve", password="secret")
        group = Group.objects.create(name="printers")
        admin_client.raise_request_exception = False
        steps = [
            (password_url(eve.pk), NEW_PASSWORD),
            (reverse("admin:auth_user_changelist"), deleting(eve.pk)),
            (reverse("admin:auth_group_changelist"), deleting(group.pk)),
            ("/admin/password_change/", own_password(before="password")),
        ]
        assert {admin_client.post(url, form).status_code for url, form in steps} <= {500, 503}
        assert people.get(username="eve").check_password("secret")
        assert people.get(username="admin").check_password("password")
        assert Group.objects.filter(name="printers").exists()
        assert LogEntry.objects.count() == 0

    def test_one_that_lost_a_race_is_begun_again_and_recorded_once(
        self, admin_client: Client, rows: Scene, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        lost = iter([OperationalError("database is locked")])
        cancel = lifecycle.cancel

        def once_in_vain(*arguments: Any) -> Any:
            cancelled = cancel(*arguments)
            for error in lost:
                raise error
            return cancelled

        monkeypatch.setattr(lifecycle, "cancel", once_in_vain)
        act(admin_client, "task", "cancel", rows.pending)
        assert Task.objects.get(pk=rows.pending).state == "cancelled"
        assert entries() == [("admin", "cancel", "task", str(rows.pending), 1)]


def deleting(key: int) -> dict[str, Any]:
    return {"action": "delete_selected", "_selected_action": key, "index": 0, "post": "yes"}


def act_quietly(client: Client, model: str, action: str, key: Any, **fields: Any) -> Any:
    form = {"action": action, "_selected_action": str(key), "index": 0, "confirmed": "1", **fields}
    return client.post(list_url(model), form)


def everything() -> list[Any]:
    models = (Task, WorkerSession, Queue, ApiKey, Operation)
    return [list(model.objects.order_by("pk").values()) for model in models]
