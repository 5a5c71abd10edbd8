"""Every action of an operator is in the audit log: who, what, to how many of what, and from where."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from admin_rows import HOSTILE, Fleet, Scene, act, list_url, page_url, scene, shown, staff
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.db import OperationalError
from django.test import Client
from django.urls import reverse
from rest_framework.test import APIClient

from queueapp import audit, background, lifecycle
from queueapp.auth import create_key
from queueapp.models import ApiKey, AuditEntry, Operation, Queue, Task, WorkerSession
from tests.transports.conftest import Caller, attached, submit

pytestmark = pytest.mark.django_db(transaction=True)
"""Verbs are retried outside of a transaction, as in a request."""

ADDRESS = "127.0.0.1"
PASSWORD = "a-very-long-one"
NEW_PASSWORD = {"password1": PASSWORD, "password2": PASSWORD, "usable_password": "true"}


def password_url(user_id: int) -> str:
    return reverse("admin:auth_user_password_change", args=[user_id])


@pytest.fixture
def rows() -> Scene:
    return scene()


def entries() -> list[tuple[str, str, str, str, int]]:
    """Who did what to which kind of thing, which one, and to how many, in the order it was done."""
    return list(AuditEntry.objects.order_by("id").values_list("who", "action", "kind", "subject", "count"))


def the_entry() -> AuditEntry:
    return AuditEntry.objects.get()


class TestInTheAdmin:
    @pytest.mark.parametrize(
        ("model", "action", "attribute", "kind"),
        [
            ("task", "cancel", "pending", "task"),
            ("task", "retry", "failed", "task"),
            ("workersession", "drain", "worker", "worker"),
            ("workersession", "disconnect", "worker", "worker"),
        ],
    )
    def test_an_action_on_a_row_names_it(
        self, admin_client: Client, rows: Scene, model: str, action: str, attribute: str, kind: str
    ) -> None:
        key = getattr(rows, attribute)
        act(admin_client, model, action, key, confirmed="1")
        assert entries() == [("admin", action, kind, str(key), 1)]
        entry = the_entry()
        assert (entry.address, entry.key_id) == (ADDRESS, None)
        assert entry.user_id == get_user_model().objects.get().pk

    def test_one_on_several_counts_them_and_names_the_first(self, admin_client: Client, rows: Scene) -> None:
        act(admin_client, "task", "cancel", rows.pending, rows.assigned, rows.failed)
        assert entries() == [("admin", "cancel", "task", "", 2)]
        assert sorted(the_entry().detail.split(", ")) == sorted([str(rows.pending), str(rows.assigned)])

    def test_of_very_many_the_rest_is_counted(self, admin_client: Client) -> None:
        act(admin_client, "task", "cancel", *Fleet.started().tasks(audit.NAMED + 3))
        assert the_entry().count == audit.NAMED + 3
        assert the_entry().detail.endswith(" and 3 more")

    def test_one_that_changed_nothing_is_no_entry(self, admin_client: Client, rows: Scene) -> None:
        act(admin_client, "task", "retry", rows.pending)
        assert entries() == []

    def test_a_pause_has_its_note(self, admin_client: Client, rows: Scene) -> None:
        act(admin_client, "queue", "pause", "tag", note="upstream is down")
        act(admin_client, "queue", "resume", "tag")
        assert entries() == [("admin", "pause", "queue", "tag", 1), ("admin", "resume", "queue", "tag", 1)]
        assert AuditEntry.objects.earliest("id").detail == "upstream is down"

    def test_a_form_has_what_it_set(self, admin_client: Client, rows: Scene) -> None:
        admin_client.post(page_url("queue", "tag"), {"concurrency": "7", "note": "slow"})
        assert entries() == [("admin", "configure", "queue", "tag", 1)]
        assert the_entry().detail == "concurrency=7 note='slow'"

    def test_a_key_that_is_made_and_revoked_goes_by_its_beginning(self, admin_client: Client) -> None:
        admin_client.post(reverse("admin:queueapp_apikey_add"), {"name": "ci", "role": "producer"})
        key = ApiKey.objects.get()
        act(admin_client, "apikey", "revoke", key.pk, confirmed=1)
        assert entries() == [
            ("admin", "create", "key", key.prefix, 1),
            ("admin", "revoke", "key", key.prefix, 1),
        ]
        assert AuditEntry.objects.earliest("id").detail == "producer ci: tasks of every name"
        assert not AuditEntry.objects.filter(detail__contains=key.digest).exists()

    def test_a_name_for_the_action_that_was_not_taken_is_not_believed(
        self, admin_client: Client, rows: Scene
    ) -> None:
        """Of several `action`s in a form the stock admin takes the one at `index`."""
        form = {"action": ["cancel", "retry"], "index": 0, "_selected_action": str(rows.pending)}
        admin_client.post(list_url("task"), form)
        assert entries() == [("admin", "cancel", "task", str(rows.pending), 1)]

    def test_users_and_what_they_may_do(self, admin_client: Client) -> None:
        password = "a-very-long-one"
        form = {"username": "eve", "password1": password, "password2": password, "usable_password": "true"}
        assert admin_client.post(reverse("admin:auth_user_add"), form).status_code == 302
        eve = get_user_model().objects.get(username="eve")
        operator = Group.objects.get(name="Operator")
        form = {
            "username": "eve",
            "is_active": "on",
            "is_staff": "on",
            "groups": [operator.pk],
            "date_joined_0": "2026-01-01",
            "date_joined_1": "00:00:00",
        }
        assert admin_client.post(reverse("admin:auth_user_change", args=[eve.pk]), form).status_code == 302
        admin_client.post(reverse("admin:auth_user_delete", args=[eve.pk]), {"post": "yes"})
        admin_client.post(reverse("admin:auth_group_delete", args=[operator.pk]), {"post": "yes"})
        assert entries() == [
            ("admin", "create", "user", "eve", 1),
            ("admin", "change", "user", "eve", 1),
            ("admin", "delete", "user", "eve", 1),
            ("admin", "delete", "group", "Operator", 1),
        ]
        changed = AuditEntry.objects.get(action="change").detail
        assert "active, staff; groups: Operator; permissions of its own: none" in changed
        assert password not in "".join(AuditEntry.objects.values_list("detail", flat=True))

    def test_a_view_shared_twice_as_it_is_was_shared_once(self, admin_client: Client) -> None:
        for text in ("state:failed", "state:failed", "state:expired"):
            admin_client.post("/admin/views/save", {"name": "bad", "text": text, "shared": "on"})
        assert entries() == [("admin", "share", "view", "bad", 1)] * 2
        assert list(AuditEntry.objects.order_by("id").values_list("detail", flat=True)) == [
            "state:failed",
            "state:expired",
        ]

    def test_passwords_of_others_and_ones_own(self, admin_client: Client) -> None:
        eve = get_user_model().objects.create_user("eve", password="secret")
        admin_client.post(password_url(eve.pk), NEW_PASSWORD)
        assert admin_client.get("/admin/password_change/").status_code == 200
        own = {"old_password": "wrong", "new_password1": PASSWORD, "new_password2": PASSWORD}
        admin_client.post("/admin/password_change/", own)
        assert entries() == [("admin", "change", "user", "eve", 1)]
        admin_client.post("/admin/password_change/", own | {"old_password": "password"})
        assert entries()[1:] == [("admin", "change", "user", "admin", 1)]
        assert get_user_model().objects.get(username="admin").check_password(PASSWORD)
        assert PASSWORD not in "".join(AuditEntry.objects.values_list("detail", flat=True))


class TestInTheApi:
    @pytest.fixture
    def operator(self, caller: Caller) -> APIClient:
        return caller("operator")

    @pytest.fixture
    def name(self, operator: APIClient) -> str:
        """What the log calls the key."""
        return str(ApiKey.objects.get(role="operator"))

    def test_a_key_steers_tasks(self, operator: APIClient, name: str, producer: APIClient) -> None:
        task_id = submit(producer)
        operator.post(f"/api/v1/tasks/{task_id}/cancel")
        operator.post(f"/api/v1/tasks/{task_id}/cancel")  # 409
        operator.post(f"/api/v1/tasks/{task_id}/retry")
        assert entries() == [(name, "cancel", "task", task_id, 1), (name, "retry", "task", task_id, 1)]
        entry = AuditEntry.objects.earliest("id")
        assert (entry.user_id, entry.address) == (None, ADDRESS)
        assert entry.key_id == ApiKey.objects.get(role="operator").pk

    def test_workers(self, operator: APIClient, name: str) -> None:
        worker = str(attached("tag").id)
        operator.post(f"/api/v1/workers/{worker}/drain")
        operator.post(f"/api/v1/workers/{worker}/disconnect")
        assert entries() == [(name, "drain", "worker", worker, 1), (name, "disconnect", "worker", worker, 1)]

    def test_queues(self, operator: APIClient, name: str, producer: APIClient) -> None:
        submit(producer)
        operator.post("/api/v1/queues/tag/pause", {"note": "upstream is down"}, format="json")
        operator.post("/api/v1/queues/tag/resume")
        operator.patch("/api/v1/queues/tag", {"concurrency": 7}, format="json")
        operator.patch("/api/v1/queues/tag", {}, format="json")
        assert entries() == [(name, each, "queue", "tag", 1) for each in ("pause", "resume", "configure")]
        details = list(AuditEntry.objects.order_by("id").values_list("detail", flat=True))
        assert details == ["upstream is down", "", "concurrency=7"]

    def test_operations_with_their_filter_and_what_was_counted(
        self, operator: APIClient, name: str, producer: APIClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(background, "wake", lambda: None)  # it is stopped before it has begun
        submit(producer)
        submit(producer)
        started = operator.post("/api/v1/tasks/cancel", {"name": "tag"}, format="json").json()
        operator.post(f"/api/v1/operations/{started['id']}/stop")
        operator.post(f"/api/v1/operations/{started['id']}/stop")
        assert entries() == [
            (name, "cancel", "operation", started["id"], 2),
            (name, "stop", "operation", started["id"], 1),
        ]
        assert json.loads(AuditEntry.objects.earliest("id").detail) == {"name": "tag"}

    def test_an_admin_user_by_session_and_what_it_submits(self, admin_client: Client) -> None:
        client = APIClient()
        client.force_login(get_user_model().objects.get())
        task_id = submit(client)
        client.post(f"/api/v1/tasks/{task_id}/cancel")
        assert entries() == [("admin", "submit", "task", task_id, 1), ("admin", "cancel", "task", task_id, 1)]

    def test_an_admin_users_second_submission_of_a_live_unique_key_is_none(self, admin_client: Client) -> None:
        client = APIClient()
        client.force_login(get_user_model().objects.get())
        task_id = submit(client, unique_key="once")
        again = client.post("/api/v1/tasks", {"name": "tag", "unique_key": "once"}, format="json")
        assert again.status_code == 200
        both = [{"name": "tag", "unique_key": "once"}, {"name": "tag"}]
        ids = client.post("/api/v1/tasks", both, format="json").json()["ids"]
        assert ids[0] == task_id
        assert entries() == [("admin", "submit", "task", each, 1) for each in ids]

    def test_producers_are_no_operators(self, producer: APIClient) -> None:
        task_id = submit(producer)
        producer.post(f"/api/v1/tasks/{task_id}/cancel")
        producer.post(f"/api/v1/tasks/{task_id}/retry")
        started = producer.post("/api/v1/tasks/cancel", {"name": "tag"}, format="json").json()
        producer.post(f"/api/v1/operations/{started['id']}/stop")
        assert entries() == []


class TestAtTheShell:
    def test_keys_are_made_and_revoked_by_whoever_runs_the_command(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("LOGNAME", "grace")
        call_command("create_api_key", "ci", "--role", "producer", stdout=io.StringIO())
        prefix = ApiKey.objects.get().prefix
        call_command("revoke_api_key", prefix, stdout=io.StringIO())
        who = "grace (command)"
        assert entries() == [(who, "create", "key", prefix, 1), (who, "revoke", "key", prefix, 1)]
        assert the_addresses() == {audit.actor_at_shell().address}


def the_addresses() -> set[str]:
    return set(AuditEntry.objects.values_list("address", flat=True))


class TestChangeAndEntry:
    """Both, or neither."""

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
        own = {"old_password": "password", "new_password1": PASSWORD, "new_password2": PASSWORD}
        steps = [
            (password_url(eve.pk), NEW_PASSWORD),
            (reverse("admin:auth_user_changelist"), deleting(eve.pk)),
            (reverse("admin:auth_group_changelist"), deleting(group.pk)),
            ("/admin/password_change/", own),
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


class TestThePage:
    @pytest.fixture
    def recorded(self) -> None:
        ada = audit.Actor("ada", user_id=7, address="192.0.2.7")
        audit.record(ada, "pause", kind="queue", subject="tag", detail=f"{HOSTILE}\x00\u202e" + "long " * 1000)
        audit.record(ada, "cancel", kind="task", count=212)
        audit.record(audit.Actor("ci (wq_1234567…)", key_id=1), "revoke", kind="key", subject="wq_1234567")
        audit.record(audit.Actor("x" * 500, address="y" * 500), "drain", kind="worker", subject="z" * 500)

    def test_the_newest_come_first(self, admin_client: Client, recorded: None) -> None:
        response = admin_client.get(list_url("auditentry"))
        assert [row.action for row in response.context["cl"].result_list] == ["drain", "revoke", "cancel", "pause"]
        assert "Audit log" in response.content.decode()

    @pytest.mark.parametrize(
        ("address", "found"),
        [
            ("?q=ada", ["cancel", "pause"]),
            ("?q=pause", ["pause"]),
            ("?q=tag", ["pause"]),
            ("?q=ada+tag", ["pause"]),
            ("?q=wq_1234567", ["revoke"]),
            ("?q=nobody", []),
            ("?who=ci+(wq_1234567…)", ["revoke"]),
            ("?action=cancel", ["cancel"]),
        ],
    )
    def test_it_is_searched_by_who_by_action_and_by_subject(
        self, admin_client: Client, recorded: None, address: str, found: list[str]
    ) -> None:
        response = admin_client.get(list_url("auditentry") + address)
        assert [row.action for row in response.context["cl"].result_list] == found

    def test_what_others_wrote_is_escaped_and_bounded(self, admin_client: Client, recorded: None) -> None:
        pages = [list_url("auditentry"), *(page_url("auditentry", row.pk) for row in AuditEntry.objects.all())]
        content = "".join(shown(admin_client, page) for page in pages)
        assert HOSTILE not in content
        assert "&lt;script&gt;" in content
        assert "\x00" not in content

    def test_it_can_be_changed_by_nobody(self, admin_client: Client, recorded: None) -> None:
        before = list(AuditEntry.objects.order_by("pk").values())
        pk = before[0]["id"]
        for page in ("change", "delete"):
            url = reverse(f"admin:queueapp_auditentry_{page}", args=[pk])
            assert admin_client.post(url, {"who": "eve", "post": "yes"}).status_code == 403
        assert admin_client.post(reverse("admin:queueapp_auditentry_add"), {"who": "eve"}).status_code == 403
        act(admin_client, "auditentry", "delete_selected", pk, post="yes")
        assert list(AuditEntry.objects.order_by("pk").values()) == before

    def test_who_may_not_view_it_finds_neither_page_nor_link(self, recorded: None) -> None:
        client = staff("view", models=["task"])
        assert "Audit log" not in shown(client, "/admin/")
        assert client.get(list_url("auditentry")).status_code == 403

    def test_an_entry_outlives_its_user(self, admin_client: Client, rows: Scene) -> None:
        act(admin_client, "task", "cancel", rows.pending)
        get_user_model().objects.all().delete()
        assert entries() == [("admin", "cancel", "task", str(rows.pending), 1)]
