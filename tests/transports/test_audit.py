"""Every action of an operator is in the audit log: who, what, to how many of what, and from where."""

from __future__ import annotations

import io
import json

import pytest
from admin_rows import Scene, Stage, act, list_url, page_url
from audit_log import entries
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.test import Client
from django.urls import reverse
from people import NEW_PASSWORD, PASSWORD, own_password, password_url
from rest_framework.test import APIClient

from queueapp import audit
from queueapp.models import ApiKey, AuditEntry
from tests.transports.conftest import Caller, attached, submit

pytestmark = pytest.mark.django_db(transaction=True)
"""Verbs are retried outside of a transaction, as in a request."""

ADDRESS = "127.0.0.1"


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
        act(admin_client, "task", "cancel", *Stage.started().tasks(audit.NAMED + 3))
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
        form = {"username": "eve", **NEW_PASSWORD}
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
        assert PASSWORD not in "".join(AuditEntry.objects.values_list("detail", flat=True))

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
        admin_client.post("/admin/password_change/", own_password(before="wrong"))
        assert entries() == [("admin", "change", "user", "eve", 1)]
        admin_client.post("/admin/password_change/", own_password(before="password"))
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
        self, operator: APIClient, name: str, producer: APIClient, woken: list[None]
    ) -> None:
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
        assert set(AuditEntry.objects.values_list("address", flat=True)) == {audit.actor_at_shell().address}
