"""API keys in the admin: made, shown once, revoked."""

from __future__ import annotations

import pytest
from admin_rows import act
from django.contrib.admin.models import LogEntry
from django.contrib.sessions.models import Session
from django.test import Client
from django.urls import reverse

from queueapp.auth import authenticate, create_key
from queueapp.models import ApiKey

pytestmark = pytest.mark.django_db(transaction=True)


class TestKeys:
    def test_are_shown_once_and_not_stored(self, admin_client: Client) -> None:
        form = {"name": "ci", "role": "producer", "task_globs": "image.*\r\n\r\n  tag \r\n"}
        response = admin_client.post(reverse("admin:queueapp_apikey_add"), form)
        key = ApiKey.objects.get()
        assert (key.name, key.role, key.task_globs) == ("ci", "producer", ["image.*", "tag"])
        page = response.content.decode()
        text = page.split('<code id="key">')[1].split("</code>")[0]
        authenticated = authenticate(text)
        assert authenticated is not None
        assert authenticated.pk == key.pk
        assert "no-store" in response["Cache-Control"]
        assert text not in str(admin_client.cookies) + str(response.headers)
        assert not [row for row in Session.objects.all() if text in str(row.get_decoded())]
        assert key.created_by == "admin"
        assert text not in admin_client.get(reverse("admin:queueapp_apikey_changelist")).content.decode()
        assert (
            text not in admin_client.get(reverse("admin:queueapp_apikey_change", args=[key.pk])).content.decode()
        )
        assert not [row for row in LogEntry.objects.values() if text in str(row)]
        assert text not in str(ApiKey.objects.values().get())

    def test_of_workers_may_have_bounds_which_the_list_shows(self, admin_client: Client) -> None:
        form = {"name": "w", "role": "worker", "task_globs": "", "bounds": "cloud=gcp,aws\r\n\r\naccount=1\r\n"}
        admin_client.post(reverse("admin:queueapp_apikey_add"), form)
        key = ApiKey.objects.get()
        assert key.bounds == {"account": ["1"], "cloud": ["aws", "gcp"]}
        for page in (
            reverse("admin:queueapp_apikey_changelist"),
            reverse("admin:queueapp_apikey_change", args=[key.pk]),
        ):
            assert "account=1 cloud=aws,gcp" in admin_client.get(page).content.decode()

    @pytest.mark.parametrize(
        "fields",
        [
            {"bounds": "cloud=aws"},
            {"role": "worker", "bounds": "cloud"},
            {"name": ""},
            {"name": " "},
            {"name": "x\x00"},
            {"role": "king"},
            {"task_globs": "a b"},
            {"name": "x" * 201},
        ],
        ids=str,
    )
    def test_with_unusable_fields_are_not_made(self, admin_client: Client, fields: dict[str, str]) -> None:
        form = {"name": "ci", "role": "producer", "task_globs": "", **fields}
        assert admin_client.post(reverse("admin:queueapp_apikey_add"), form).status_code == 200
        assert not ApiKey.objects.exists()

    def test_are_revoked_once(self, admin_client: Client) -> None:
        key, text = create_key("ci", "producer")
        assert act(admin_client, "apikey", "revoke", key.pk, confirmed=1) == ["1 API key revoked."]
        revoked_at = ApiKey.objects.get().revoked_at
        assert revoked_at is not None
        assert authenticate(text) is None
        assert act(admin_client, "apikey", "revoke", key.pk, confirmed=1)[0] == "0 API keys revoked."
        assert ApiKey.objects.get().revoked_at == revoked_at
