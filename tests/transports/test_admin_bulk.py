"""Bulk: a filter is previewed, confirmed and carried out as an operation."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest
from admin_rows import HOSTILE, Stage, page_url, scene, staff
from bulk_page import BULK, confirm
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.test import Client

from queueapp import bulk, lifecycle, portions
from queueapp.domain.submission import Submission
from queueapp.models import AuditEntry, Operation, Task
from tests.integration.rows import carry_out

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("woken")]
"""An operation is recorded in the transaction that begins it."""


def ask(client: Client, **parameters: Any) -> Any:
    response = client.get(BULK, parameters)
    assert response.status_code == 200
    return response


def count_said(client: Client, **parameters: Any) -> str:
    return ask(client, **parameters).content.decode().partition('id="bulk-count"><strong>')[2].partition("<")[0]


def states(*task_ids: UUID) -> list[str]:
    found = dict(Task.objects.values_list("pk", "state"))
    return [found[task_id] for task_id in task_ids]


class TestThePreview:
    def test_counts_what_would_change_and_shows_some_of_it(self, admin_client: Client) -> None:
        stage = Stage.started()
        tagged, _, failed = stage.tasks(12), stage.task("other"), stage.failed(stage.worker())
        page = ask(admin_client, name="tag", action="cancel")
        assert page.context["preview"].count == 12
        assert [task.pk for task in page.context["preview"].samples] == sorted(tagged, reverse=True)[
            : bulk.SAMPLES
        ]
        assert count_said(admin_client, name="tag", action="retry") == "1 task"
        assert [task.pk for task in ask(admin_client, name="tag", action="retry").context["preview"].samples] == [
            failed
        ]
        assert Operation.objects.count() == 0

    @pytest.mark.parametrize(
        ("parameters", "expected"),
        [
            ({"filter": '{"name": "tag", "attr.cloud": "aws"}'}, "2 tasks"),
            ({"name": "tag", "attr.cloud": "aws"}, "2 tasks"),
            ({"name": "tag,other"}, "4 tasks"),
            ({"state": ["pending", "assigned"], "name": "other"}, "1 task"),
            ({"all": "true"}, "4 tasks"),
            ({"name": "", "tag": "", "all": "true"}, "4 tasks"),
        ],
        ids=str,
    )
    def test_takes_the_filter_as_json_or_as_parameters(
        self, admin_client: Client, parameters: dict[str, Any], expected: str
    ) -> None:
        stage = Stage.started()
        stage.tasks(2, cloud="aws"), stage.task(), stage.task("other")
        assert count_said(admin_client, **parameters) == expected

    def test_without_a_filter_there_is_none(self, admin_client: Client) -> None:
        assert "preview" not in ask(admin_client).context

    def test_takes_the_action_that_the_states_allow(self, admin_client: Client) -> None:
        assert ask(admin_client, state="failed").context["action"] == "retry"
        assert ask(admin_client, state="pending").context["action"] == "cancel"

    @pytest.mark.parametrize(
        ("parameters", "problem"),
        [
            ({"nonsense": "1"}, "unknown filter"),
            ({"filter": "{"}, "not JSON"),
            ({"filter": "[" * 10_000}, "nested deeper"),
            ({"filter": "[]"}, "a filter is a JSON object"),
            ({"filter": '{"name": 7}'}, "must be a string"),
            ({"filter": '{"name": "\\u0000"}'}, "NUL"),
            ({"name": "tag", "action": "delete"}, "must be one of cancel, retry, prioritise"),
            (
                {"name": "tag", "action": "prioritise", "priority": "101"},
                "must be a whole number from -100 to 100",
            ),
            (
                {"name": "tag", "action": "prioritise", "priority": "1_0"},
                "must be a whole number from -100 to 100",
            ),
            ({"state": "failed", "action": "cancel"}, "cancel changes only tasks that are pending, assigned"),
            ({"all": "true", "name": "tag"}, "unknown filter"),
        ],
        ids=str,
    )
    def test_says_what_cannot_be_used(
        self, admin_client: Client, parameters: dict[str, str], problem: str
    ) -> None:
        page = ask(admin_client, **parameters)
        assert "preview" not in page.context
        assert problem in "".join(page.context["errors"])
        refused = admin_client.post(BULK, parameters)
        assert refused.status_code == 400
        assert Operation.objects.count() == 0

    def test_ends_at_a_bound(self, admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(bulk, "COUNTED", 5)
        monkeypatch.setattr(bulk, "FIRST_PORTION", 3)
        monkeypatch.setattr(portions, "SECONDS", 60)
        Stage.started().tasks(9)
        for few in (bulk.FEW, 2):
            monkeypatch.setattr(bulk, "FEW", few)
            assert count_said(admin_client, name="tag") == "More than 5 tasks"

    def test_ends_when_the_time_is_over(self, admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(portions, "SECONDS", 0)
        monkeypatch.setattr(bulk, "FEW", 2)
        monkeypatch.setattr(bulk, "FIRST_PORTION", 3)
        stage = Stage.started()
        old, _ = stage.tasks(4, name="old"), stage.tasks(4)
        page = ask(admin_client, name="old")
        assert "0 or more tasks" in page.content.decode()
        assert "the newest 3:" in page.content.decode()
        confirm(admin_client, "cancel", {"name": "old"})
        carry_out(Operation.objects.get().pk)
        assert states(*old) == ["cancelled"] * 4

    def test_finds_live_tasks_of_every_kind_where_they_are_few(self, admin_client: Client) -> None:
        rows = scene()
        lifecycle.submit([Submission("tag", {}, concurrency_key="k")], None, rows.stage.now)
        live = [str(key) for key in Task.objects.live().order_by("-id").values_list("pk", flat=True)]
        shown_first = [str(task.pk) for task in ask(admin_client, all="true").context["preview"].samples]
        assert count_said(admin_client, all="true") == f"{len(live)} tasks"
        assert shown_first == live[: bulk.SAMPLES]
        assert {str(rows.pending), str(rows.delayed), str(rows.assigned)} <= set(live)

    def test_goes_on_through_portions(self, admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(bulk, "FIRST_PORTION", 2)
        monkeypatch.setattr(bulk, "FEW", 2)
        monkeypatch.setattr(portions, "SECONDS", 60)
        stage = Stage.started()
        for _ in range(5):
            stage.task(), stage.task("other")
        assert count_said(admin_client, name="tag") == "5 tasks"

    def test_costs_as_many_queries_for_many_tasks_as_for_one(
        self, admin_client: Client, django_assert_max_num_queries: Any
    ) -> None:
        stage = Stage.started()
        stage.task()
        ask(admin_client, name="tag")
        # On PostgreSQL five of them bound the time of the others.
        with django_assert_max_num_queries(25) as few:
            ask(admin_client, name="tag")
        stage.tasks(40, cloud="aws")
        with django_assert_max_num_queries(len(few)):
            ask(admin_client, name="tag")

    def test_escapes_what_others_wrote(self, admin_client: Client) -> None:
        stage = Stage.started()
        stage.failed(stage.worker(), error=HOSTILE, note=HOSTILE)
        for parameters in (
            {"state": "failed"},
            {"attr.note": HOSTILE, "state": "failed"},
            {HOSTILE: HOSTILE},
            {"filter": json.dumps({"attr.note": HOSTILE, "state": "failed"})},
        ):
            content = ask(admin_client, **parameters).content.decode()
            assert HOSTILE not in content
            assert "&lt;script&gt;" in content


class TestTheConfirmation:
    def test_begins_an_operation_and_leads_to_its_page(self, admin_client: Client, woken: list[None]) -> None:
        stage = Stage.started()
        tagged, other = stage.tasks(3), stage.task("other")
        response = confirm(admin_client, "cancel", {"name": "tag"})
        operation = Operation.objects.get()
        assert response["Location"] == page_url("operation", operation.pk)
        assert (operation.asked_by, operation.total, operation.tasks_of, operation.names) == (
            "admin",
            3,
            None,
            None,
        )
        assert woken == [None]
        carry_out(operation.pk)
        assert states(*tagged, other) == ["cancelled"] * 3 + ["pending"]

    def test_retries(self, admin_client: Client) -> None:
        stage = Stage.started()
        failed = stage.failed(stage.worker())
        confirm(admin_client, "retry", {"state": "failed"})
        carry_out(Operation.objects.get().pk)
        assert states(failed) == ["pending"]

    def test_changes_priorities(self, admin_client: Client) -> None:
        stage = Stage.started()
        tagged, other = stage.tasks(3), stage.task("other")
        confirm(admin_client, "prioritise", {"name": "tag"}, priority="-7")
        operation = carry_out(Operation.objects.get().pk)
        assert (operation.state, operation.done, operation.unchanged) == ("done", 3, 0)
        found = dict(Task.objects.values_list("pk", "priority"))
        assert [found[each] for each in (*tagged, other)] == [-7] * 3 + [0]

    def test_is_recorded(self, admin_client: Client) -> None:
        Stage.started().tasks(3)
        confirm(admin_client, "prioritise", {"name": "tag"}, priority="7")
        entry, operation = AuditEntry.objects.get(), Operation.objects.get()
        assert (entry.who, entry.action, entry.kind, entry.subject) == (
            "admin",
            "prioritise",
            "operation",
            str(operation.pk),
        )
        assert (entry.count, entry.detail, entry.address) == (3, 'priority=7 {"name":"tag"}', "127.0.0.1")

    @pytest.mark.parametrize("document", [{}, {"all": False}, "", {"nonsense": "1"}], ids=str)
    def test_without_a_usable_filter_changes_nothing(self, admin_client: Client, document: Any) -> None:
        Stage.started().tasks(3)
        assert confirm(admin_client, "cancel", document).status_code == 400
        assert Operation.objects.count() == 0

    def test_is_not_taken_from_the_address(self, admin_client: Client) -> None:
        """A link that somebody was sent carries out nothing, nor does a form without one's token."""
        Stage.started().tasks(3)
        ask(admin_client, action="cancel", filter='{"name": "tag"}')
        assert admin_client.post(f"{BULK}?action=cancel&name=tag").status_code == 400
        strict = Client(enforce_csrf_checks=True)
        strict.cookies = admin_client.cookies
        assert confirm(strict, "cancel", {"name": "tag"}).status_code == 403
        assert Operation.objects.count() == 0

    @pytest.mark.parametrize("missing", ["change_task", "add_operation"])
    def test_takes_both_permissions(self, missing: str) -> None:
        Stage.started().tasks(3)
        client = staff("view", "change", "add")
        get_user_model().objects.get().user_permissions.remove(Permission.objects.get(codename=missing))
        page = ask(client, name="tag").content.decode()
        assert "bulk-confirm" not in page
        assert "bulk-count" in page
        assert confirm(client, "cancel", {"name": "tag"}).status_code == 403
        assert Operation.objects.count() == 0
