"""Keys on their pages: what they are used for, and what revoking one would cut off, said before it is done."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID

import pytest
from admin_rows import Stage, act, list_url, page_url, shown, staff
from channels.db import database_sync_to_async
from django.test import Client
from waiting_requests import until_waiting

from queueapp import key_use, lifecycle
from queueapp.admin import keys
from queueapp.auth import create_key
from queueapp.domain.matching import Subscription
from queueapp.domain.submission import Submission
from queueapp.models import ApiKey, WorkerSession, new_id
from queueapp.registration import Offer, Options
from queueapp.sessions import Attachment, attach
from queueapp.waiting import listening
from queueapp.watching import following

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def key() -> ApiKey:
    return create_key("ci", "operator", created_by="ada")[0]


def attached(stage: Stage, key: ApiKey) -> UUID:
    session_id = new_id()
    offers = (Offer(Subscription.of("tag"), "{}"),)
    attach(stage.node_id, [Attachment(session_id, Options(10, name="w7"), offers, key)], stage.now)
    return session_id


def submitted(stage: Stage, key: ApiKey) -> UUID:
    return lifecycle.submit([Submission("tag", {}, "1")], key, stage.now)[0].task_id


def ask_to_revoke(client: Client, *keys: ApiKey, **fields: Any) -> Any:
    form = {"action": "revoke", "_selected_action": [str(key.pk) for key in keys], "index": 0, **fields}
    return client.post(list_url("apikey"), form)


class TestRevoking:
    def test_asks_first_and_says_what_would_be_cut_off(
        self, admin_client: Client, stage: Stage, key: ApiKey
    ) -> None:
        stage.assign(attached(stage, key), *stage.tasks(3))
        attached(stage, key)
        page = ask_to_revoke(admin_client, key).content.decode()
        assert "2 workers attached now, with 3 tasks" in page
        assert "never used" in page
        assert ApiKey.objects.usable().count() == 1

    def test_says_that_more_were_selected_than_it_would_revoke(
        self, admin_client: Client, key: ApiKey, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        others = [create_key(f"ci {number}", "producer")[0] for number in range(2)]
        assert "more were selected" not in ask_to_revoke(admin_client, key, *others).content.decode()
        monkeypatch.setattr(keys, "CONFIRMED_KEYS", 1)
        page = ask_to_revoke(admin_client, key, *others).content.decode()
        assert "2 more were selected and are not revoked by this" in page
        assert page.count('name="_selected_action"') == 1

    def test_is_done_once_it_is_confirmed(self, admin_client: Client, stage: Stage, key: ApiKey) -> None:
        worker = attached(stage, key)
        told = act(admin_client, "apikey", "revoke", key.pk, confirmed=1, _from_page=1)
        assert told == ["1 API key revoked."]
        assert WorkerSession.objects.get(pk=worker).close_code == 4401

    def test_from_its_page_leads_back_there(self, admin_client: Client, key: ApiKey) -> None:
        page = ask_to_revoke(admin_client, key, _from_page=1).content.decode()
        assert f'href="{page_url("apikey", key.pk)}"' in page
        response = ask_to_revoke(admin_client, key, _from_page=1, confirmed=1)
        assert response["Location"] == page_url("apikey", key.pk)
        assert 'value="revoke"' not in shown(admin_client, page_url("apikey", key.pk))

    def test_of_what_is_revoked_already_asks_nothing(self, admin_client: Client, key: ApiKey) -> None:
        act(admin_client, "apikey", "revoke", key.pk, confirmed=1)
        assert ask_to_revoke(admin_client, key).status_code == 302

    def test_is_for_those_who_may_change_keys(self, key: ApiKey) -> None:
        ask_to_revoke(staff("view"), key, confirmed=1)
        assert ApiKey.objects.usable().count() == 1


class TestAKeysPage:
    def test_leads_to_its_sessions_and_its_latest_tasks(
        self, admin_client: Client, stage: Stage, key: ApiKey
    ) -> None:
        worker, task_id, other = attached(stage, key), submitted(stage, key), stage.task()
        page = shown(admin_client, page_url("apikey", key.pk))
        assert page_url("workersession", worker) in page
        assert page_url("task", task_id) in page
        assert page_url("task", other) not in page
        assert "ada" in page
        listed = shown(admin_client, f"{list_url('workersession')}?api_key__id__exact={key.pk}&state=all")
        assert page_url("workersession", worker) in listed


async def test_producers_that_wait_or_follow_with_a_key_count(key: ApiKey, stage: Stage) -> None:
    first, second = [await database_sync_to_async(submitted)(stage, key) for _ in range(2)]
    with (
        listening() as ears,
        following(second, ("pending",), key.pk),
        following(second, ("pending",), None),
    ):
        waiting = asyncio.create_task(ears.until_terminal(first, 60))
        await until_waiting(1)
        use = (await database_sync_to_async(key_use.uses)([key.pk]))[key.pk]
        waiting.cancel()
    assert use.producers == 2
