"""What operators do in the admin: the verbs are called, forms write nothing else, and only who may does."""

from __future__ import annotations

from typing import Any

import pytest
from admin_forms import fields_of
from admin_rows import Scene, act, staff
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse

from queueapp import queues
from queueapp.auth import create_key
from queueapp.models import ApiKey, Attempt, Node, Queue, Subscription, Task, WorkerSession

pytestmark = pytest.mark.django_db(transaction=True)
"""Verbs are retried outside of a transaction, as in a request."""


def states(*task_ids: Any) -> list[str]:
    found = dict(Task.objects.values_list("pk", "state"))
    return [found[task_id] for task_id in task_ids]


class TestTasks:
    def test_are_cancelled(self, admin_client: Client, rows: Scene) -> None:
        told = act(admin_client, "task", "cancel", rows.pending, rows.assigned, rows.failed)
        assert states(rows.pending, rows.assigned, rows.failed) == ["cancelled", "cancelled", "failed"]
        assert told == ["2 tasks cancelled.", "1 task left alone: their state does not allow it."]

    def test_are_retried(self, admin_client: Client, rows: Scene) -> None:
        assert act(admin_client, "task", "retry", rows.failed) == ["1 task retried."]
        assert states(rows.failed) == ["pending"]

    def test_that_nothing_can_be_done_to_are_told_of(self, admin_client: Client, rows: Scene) -> None:
        told = act(admin_client, "task", "retry", rows.pending)
        assert told == ["0 tasks retried.", "1 task left alone: their state does not allow it."]

    def test_are_steered_from_their_page_and_shown_again(self, admin_client: Client, rows: Scene) -> None:
        page = reverse("admin:queueapp_task_change", args=[rows.pending])
        assert 'value="cancel"' in admin_client.get(page).content.decode()
        form = {"action": "cancel", "_selected_action": str(rows.pending), "_from_page": "1"}
        response = admin_client.post(reverse("admin:queueapp_task_changelist"), form)
        assert response["Location"] == page
        assert states(rows.pending) == ["cancelled"]

    def test_remember_who_did_it(self, admin_client: Client, rows: Scene) -> None:
        act(admin_client, "task", "cancel", rows.pending)
        entry = LogEntry.objects.get()
        assert (entry.object_id, entry.user.get_username(), entry.change_message) == (
            str(rows.pending),
            "admin",
            "Cancelled",
        )

    @pytest.mark.parametrize("key", ["nonsense", "", "\x00", "9" * 40])
    def test_that_are_none_are_refused(self, admin_client: Client, rows: Scene, key: str) -> None:
        for model, action in (("task", "cancel"), ("workersession", "drain"), ("apikey", "revoke")):
            form = {"action": action, "_selected_action": key, "index": 0}
            response = admin_client.post(reverse(f"admin:queueapp_{model}_changelist"), form)
            assert response.status_code == 400


class TestQueues:
    def test_are_paused_with_a_note(self, admin_client: Client, rows: Scene) -> None:
        assert act(admin_client, "queue", "pause", "tag", note="upstream is down") == ["1 queue paused."]
        queue = Queue.objects.get(pk="tag")
        assert (queue.paused, queue.paused_by, queue.note) == (True, "admin", "upstream is down")
        assert queue.paused_at is not None

    def test_are_resumed(self, admin_client: Client, rows: Scene) -> None:
        queues.pause(["tag"], "ada", "", rows.stage.now)
        assert act(admin_client, "queue", "resume", "tag") == ["1 queue resumed."]
        assert not Queue.objects.get(pk="tag").paused

    def test_have_defaults_that_are_edited(self, admin_client: Client, rows: Scene) -> None:
        assert save_queue(admin_client, timeout_seconds="60", max_attempts="2", note="slow").status_code == 302
        queue = Queue.objects.get(pk="tag")
        assert (queue.timeout_seconds, queue.max_attempts, queue.note) == (60, 2, "slow")
        assert queue.spill_after_seconds is None
        save_queue(admin_client)
        assert Queue.objects.get(pk="tag").timeout_seconds is None

    def test_have_limits_that_are_edited_and_shown(self, admin_client: Client, rows: Scene) -> None:
        assert save_queue(admin_client, concurrency="7", concurrency_per_key="2").status_code == 302
        queue = Queue.objects.get(pk="tag")
        assert (queue.concurrency, queue.concurrency_per_key) == (7, 2)
        page = admin_client.get(reverse("admin:queueapp_queue_changelist")).content.decode()
        assert f">{Task.objects.assigned().filter(name='tag').count()}</span> of 7</a>" in page
        save_queue(admin_client)
        assert Queue.objects.get(pk="tag").concurrency is None

    @pytest.mark.parametrize(
        "fields",
        [
            {"timeout_seconds": "0"},
            {"timeout_seconds": "nan"},
            {"timeout_seconds": "1e300"},
            {"max_attempts": "0"},
            {"max_attempts": "99999999999999999999"},
            {"spill_after_seconds": "-1"},
            {"concurrency": "0"},
            {"concurrency_per_key": "-1"},
            {"note": "x\x00"},
            {"note": "x" * 1001},
        ],
        ids=str,
    )
    def test_refuse_defaults_that_no_submission_may_have(
        self, admin_client: Client, rows: Scene, fields: dict[str, str]
    ) -> None:
        before = Queue.objects.filter(pk="tag").values().get()
        assert save_queue(admin_client, **fields).status_code == 200
        assert Queue.objects.filter(pk="tag").values().get() == before

    def test_stay_paused_when_an_older_page_is_saved(self, admin_client: Client, rows: Scene) -> None:
        queues.pause(["tag"], "ada", "", rows.stage.now)
        save_queue(admin_client, timeout_seconds="60", paused="", name="other", paused_by="eve")
        queue = Queue.objects.get(pk="tag")
        assert (queue.paused, queue.paused_by) == (True, "ada")
        assert not Queue.objects.filter(pk="other").exists()


class TestForms:
    def test_add_change_and_delete_nothing(self, admin_client: Client, rows: Scene) -> None:
        """A superuser posts to every form that could be there, for a row of every kind."""
        create_key("ci", "producer")
        keys: dict[str, Any] = {
            model._meta.model_name: model.objects.order_by("pk").values_list("pk", flat=True)[0]
            for model in (Task, Attempt, WorkerSession, Subscription, Queue, ApiKey, Node)
        }
        before = everything()
        for model, key in keys.items():
            form = {"name": "changed", "state": "failed", "host": "changed", "number": 9, "post": "yes"}
            pages = [("change", [key]), ("delete", [key]), ("add", [])]
            for page, arguments in pages:
                if (model, page) in (("queue", "change"), ("apikey", "add")):
                    continue  # the two forms that there are
                url = reverse(f"admin:queueapp_{model}_{page}", args=arguments)
                assert admin_client.post(url, form).status_code == 403, url
            act(admin_client, model, "delete_selected", key, post="yes")
        assert everything() == before


class TestPermissions:
    def test_to_view_let_nobody_act(self, rows: Scene) -> None:
        key, _ = create_key("ci", "producer")
        client, before = staff("view"), everything()
        for model, action, row in (
            ("task", "cancel", rows.pending),
            ("task", "retry", rows.failed),
            ("workersession", "drain", rows.worker),
            ("workersession", "disconnect", rows.worker),
            ("queue", "pause", "tag"),
            ("apikey", "revoke", key.pk),
        ):
            act(client, model, action, row, confirmed="1")
        assert save_queue(client, timeout_seconds="60").status_code == 403
        assert (
            client.post(reverse("admin:queueapp_apikey_add"), {"name": "x", "role": "worker"}).status_code == 403
        )
        assert everything() == before

    def test_to_change_tasks_let_staff_steer_those_only(self, rows: Scene) -> None:
        client = staff("change", models=["task"])
        assert act(client, "task", "cancel", rows.pending) == ["1 task cancelled."]
        assert client.get(reverse("admin:queueapp_workersession_changelist")).status_code == 403

    def test_are_needed(self, client: Client, rows: Scene) -> None:
        assert client.get(reverse("admin:queueapp_task_changelist")).status_code == 302


def save_queue(client: Client, **fields: str) -> Any:
    """Open its page, empty it, fill in these, and send it."""
    address = reverse("admin:queueapp_queue_change", args=["tag"])
    shown = {
        name: value if name.startswith("initial-") else ""
        for name, value in fields_of(client.get(address).content.decode()).items()
    }
    return client.post(address, shown | fields)


def everything() -> list[Any]:
    models = (Task, Attempt, WorkerSession, Subscription, Queue, ApiKey, Node)
    return [list(model.objects.order_by("pk").values()) for model in models]
