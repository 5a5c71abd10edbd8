"""Bulk: a filter is previewed, confirmed and carried out as an operation, which has a page and a stop button."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest
from admin_rows import HOSTILE, Fleet, act, list_url, page_url, scene, shown, staff
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.test import Client

from queueapp import background, bulk, lifecycle, operations
from queueapp.domain.submission import Submission
from queueapp.models import AuditEntry, Operation, Task

pytestmark = pytest.mark.django_db(transaction=True)
"""An operation is recorded in the transaction that begins it."""

BULK = "/admin/bulk/"


@pytest.fixture(autouse=True)
def nothing_goes_on_by_itself(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """The thread's turns are taken by the tests; here is how often it was woken."""
    woken: list[None] = []
    monkeypatch.setattr(background, "wake", lambda: woken.append(None))
    return woken


def ask(client: Client, **parameters: Any) -> Any:
    response = client.get(BULK, parameters)
    assert response.status_code == 200
    return response


def count_said(client: Client, **parameters: Any) -> str:
    return ask(client, **parameters).content.decode().partition('id="bulk-count"><strong>')[2].partition("<")[0]


def confirm(client: Client, action: str, document: Any, **fields: Any) -> Any:
    text = document if isinstance(document, str) else json.dumps(document)
    return client.post(BULK, {"action": action, "filter": text, **fields})


def carried_out(operation: Operation) -> Operation:
    while operations.carry_on(operation.pk):
        pass
    operation.refresh_from_db()
    return operation


def states(*task_ids: UUID) -> list[str]:
    found = dict(Task.objects.values_list("pk", "state"))
    return [found[task_id] for task_id in task_ids]


class TestThePreview:
    def test_counts_what_would_change_and_shows_some_of_it(self, admin_client: Client) -> None:
        fleet = Fleet.started()
        tagged, _, failed = fleet.tasks(12), fleet.task("other"), fleet.failed(fleet.worker())
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
        fleet = Fleet.started()
        fleet.tasks(2, cloud="aws"), fleet.task(), fleet.task("other")
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
        Fleet.started().tasks(9)
        for few in (bulk.FEW, 2):
            monkeypatch.setattr(bulk, "FEW", few)
            assert count_said(admin_client, name="tag") == "More than 5 tasks"

    def test_ends_when_the_time_is_over(self, admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(bulk, "SECONDS", 0)
        monkeypatch.setattr(bulk, "FEW", 2)
        monkeypatch.setattr(bulk, "FIRST_PORTION", 3)
        fleet = Fleet.started()
        old, _ = fleet.tasks(4, name="old"), fleet.tasks(4)
        page = ask(admin_client, name="old")
        assert "0 or more tasks" in page.content.decode()
        assert "the newest 3:" in page.content.decode()
        confirm(admin_client, "cancel", {"name": "old"})
        carried_out(Operation.objects.get())
        assert states(*old) == ["cancelled"] * 4

    def test_finds_live_tasks_of_every_kind_where_they_are_few(self, admin_client: Client) -> None:
        rows = scene()
        lifecycle.submit([Submission("tag", {}, concurrency_key="k")], None, rows.fleet.now)
        live = [str(key) for key in Task.objects.live().order_by("-id").values_list("pk", flat=True)]
        shown_first = [str(task.pk) for task in ask(admin_client, all="true").context["preview"].samples]
        assert count_said(admin_client, all="true") == f"{len(live)} tasks"
        assert shown_first == live[: bulk.SAMPLES]
        assert {str(rows.pending), str(rows.delayed), str(rows.assigned)} <= set(live)

    def test_goes_on_through_portions(self, admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(bulk, "FIRST_PORTION", 2)
        monkeypatch.setattr(bulk, "FEW", 2)
        monkeypatch.setattr(bulk, "SECONDS", 60)
        fleet = Fleet.started()
        for _ in range(5):
            fleet.task(), fleet.task("other")
        assert count_said(admin_client, name="tag") == "5 tasks"

    def test_costs_as_many_queries_for_many_tasks_as_for_one(
        self, admin_client: Client, django_assert_max_num_queries: Any
    ) -> None:
        fleet = Fleet.started()
        fleet.task()
        ask(admin_client, name="tag")
        # On PostgreSQL five of them bound the time of the others.
        with django_assert_max_num_queries(25) as few:
            ask(admin_client, name="tag")
        fleet.tasks(40, cloud="aws")
        with django_assert_max_num_queries(len(few)):
            ask(admin_client, name="tag")

    def test_escapes_what_others_wrote(self, admin_client: Client) -> None:
        fleet = Fleet.started()
        fleet.failed(fleet.worker(), error=HOSTILE, note=HOSTILE)
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
    def test_begins_an_operation_and_leads_to_its_page(
        self, admin_client: Client, nothing_goes_on_by_itself: list[None]
    ) -> None:
        fleet = Fleet.started()
        tagged, other = fleet.tasks(3), fleet.task("other")
        response = confirm(admin_client, "cancel", {"name": "tag"})
        operation = Operation.objects.get()
        assert response["Location"] == page_url("operation", operation.pk)
        assert (operation.asked_by, operation.total, operation.tasks_of, operation.names) == (
            "admin",
            3,
            None,
            None,
        )
        assert nothing_goes_on_by_itself == [None]
        carried_out(operation)
        assert states(*tagged, other) == ["cancelled"] * 3 + ["pending"]

    def test_retries(self, admin_client: Client) -> None:
        fleet = Fleet.started()
        failed = fleet.failed(fleet.worker())
        confirm(admin_client, "retry", {"state": "failed"})
        carried_out(Operation.objects.get())
        assert states(failed) == ["pending"]

    def test_changes_priorities(self, admin_client: Client) -> None:
        fleet = Fleet.started()
        tagged, other = fleet.tasks(3), fleet.task("other")
        confirm(admin_client, "prioritise", {"name": "tag"}, priority="-7")
        operation = carried_out(Operation.objects.get())
        assert (operation.state, operation.done, operation.unchanged) == ("done", 3, 0)
        found = dict(Task.objects.values_list("pk", "priority"))
        assert [found[each] for each in (*tagged, other)] == [-7] * 3 + [0]

    def test_is_recorded(self, admin_client: Client) -> None:
        Fleet.started().tasks(3)
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
        Fleet.started().tasks(3)
        assert confirm(admin_client, "cancel", document).status_code == 400
        assert Operation.objects.count() == 0

    def test_is_not_taken_from_the_address(self, admin_client: Client) -> None:
        """A link that somebody was sent carries out nothing, nor does a form without one's token."""
        Fleet.started().tasks(3)
        ask(admin_client, action="cancel", filter='{"name": "tag"}')
        assert admin_client.post(f"{BULK}?action=cancel&name=tag").status_code == 400
        strict = Client(enforce_csrf_checks=True)
        strict.cookies = admin_client.cookies
        assert confirm(strict, "cancel", {"name": "tag"}).status_code == 403
        assert Operation.objects.count() == 0

    @pytest.mark.parametrize("missing", ["change_task", "add_operation"])
    def test_takes_both_permissions(self, missing: str) -> None:
        Fleet.started().tasks(3)
        client = staff("view", "change", "add")
        get_user_model().objects.get().user_permissions.remove(Permission.objects.get(codename=missing))
        page = ask(client, name="tag").content.decode()
        assert "bulk-confirm" not in page
        assert "bulk-count" in page
        assert confirm(client, "cancel", {"name": "tag"}).status_code == 403
        assert Operation.objects.count() == 0


class TestOperations:
    @pytest.fixture
    def running(self, admin_client: Client) -> Operation:
        Fleet.started().tasks(3)
        confirm(admin_client, "cancel", {"name": "tag", "attr.note": HOSTILE, "state": "pending,assigned"})
        return Operation.objects.get()

    def test_are_listed_with_who_began_them_and_what_they_are_about(
        self, admin_client: Client, running: Operation
    ) -> None:
        page = shown(admin_client, list_url("operation"))
        assert "tasks with name tag, " in page  # the order of the others is the database's
        assert "attr.note &lt;script&gt;" in page
        assert ">admin<" in page
        assert f'class="operation" data-row="{running.pk}"' in page
        assert HOSTILE not in page
        for address, found in ((f"?q={running.pk}", True), ("?state=running", True), ("?state=done", False)):
            assert (str(running.pk) in shown(admin_client, list_url("operation") + address)) is found

    def test_have_a_page_with_a_bar_and_a_button(self, admin_client: Client, running: Operation) -> None:
        page = shown(admin_client, page_url("operation", running.pk))
        assert 'data-state="running"' in page
        assert 'value="stop"' in page
        assert "attr.note &lt;script&gt;" in page

    def test_are_stopped_by_it(self, admin_client: Client, running: Operation) -> None:
        told = act(admin_client, "operation", "stop", running.pk)
        assert told == ["1 operation stopped."]
        assert not operations.carry_on(running.pk)
        page = shown(admin_client, page_url("operation", running.pk))
        assert 'value="stop"' not in page
        assert "stopped: 0 of 0" in page

    def test_that_have_ended_say_what_they_did(self, admin_client: Client) -> None:
        Fleet.started().tasks(3)
        confirm(admin_client, "prioritise", {"name": "tag"}, priority="0")
        operation = carried_out(Operation.objects.get())
        page = shown(admin_client, page_url("operation", operation.pk))
        assert "done: 3 of 3, 3 left as they were" in page
        assert "prioritise to 0" in page

    def test_lead_back_to_their_filter(self, admin_client: Client, running: Operation) -> None:
        Fleet.started().tasks(2)
        confirm(admin_client, "prioritise", {"name": "tag"}, priority="7")
        page = shown(admin_client, page_url("operation", Operation.objects.latest("id").pk))
        address = page.partition(f'href="{BULK}?')[2].partition('"')[0]
        assert "priority=7" in address
        assert "action=prioritise" in address
