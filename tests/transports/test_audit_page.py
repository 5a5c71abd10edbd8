"""The page of the audit log: it is read by who may, searched, and changed by nobody."""

from __future__ import annotations

import pytest
from admin_rows import HOSTILE, Scene, act, list_url, page_url, shown, staff
from audit_log import entries
from django.contrib.auth import get_user_model
from django.test import Client
from django.urls import reverse

from queueapp import audit
from queueapp.models import AuditEntry

pytestmark = pytest.mark.django_db(transaction=True)
"""Verbs are retried outside of a transaction, as in a request."""


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
