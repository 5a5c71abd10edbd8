"""The list of tasks in the admin: its filter bar, its pages, its views, and what leads to more of the same."""

from __future__ import annotations

import json
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from admin_rows import HOSTILE, Stage, act, list_url, page_url, shown, staff
from django.test import Client
from django.urls import reverse

from queueapp import portions, saved_views, searching
from queueapp.models import AuditEntry, SavedView

pytestmark = pytest.mark.django_db

TASKS = "/admin/queueapp/task/"


def listed(client: Client, text: str = "", **parameters: str) -> Any:
    response = client.get(TASKS, {"q": text, **parameters})
    assert response.status_code == 200
    return response.context["cl"]


def found(client: Client, text: str = "", **parameters: str) -> list[Any]:
    return [task.pk for task in listed(client, text, **parameters).result_list]


def text_of(address: str) -> str:
    return parse_qs(urlsplit(unescape(address)).query).get("q", [""])[0]


class TestTheBar:
    def test_finds_what_all_of_its_words_say(self, admin_client: Client, stage: Stage) -> None:
        worker = stage.worker("w7")
        wanted = stage.failed(worker, error="a timeout", cloud="aws")
        stage.failed(worker, error="a timeout", cloud="gcp")
        stage.task(cloud="aws")
        assert found(admin_client, "state:failed name:tag attr.cloud:aws error:~TIMEOUT worker:w7") == [wanted]

    def test_shows_what_is_in_force_and_how_to_be_rid_of_it(self, admin_client: Client) -> None:
        bar = listed(admin_client, 'state:failed error:~"no such" cloud=aws')
        assert [(chip.word, text_of(chip.address)) for chip in bar.chips] == [
            ("state:failed", 'error:~"no such" attr.cloud:aws'),
            ('error:~"no such"', "state:failed attr.cloud:aws"),
            ("attr.cloud:aws", 'state:failed error:~"no such"'),
        ]

    def test_shows_nothing_and_says_why_where_a_word_cannot_be_used(
        self, admin_client: Client, stage: Stage
    ) -> None:
        stage.task()
        bar = listed(admin_client, "name:tag stat:failed")
        (problem,) = bar.problems
        assert "There is no filter “stat”. Filters are state, name," in problem.message
        assert (problem.word, text_of(problem.address)) == ("state:failed", "name:tag state:failed")
        assert bar.result_list == []
        assert bar.text == "name:tag stat:failed"
        assert "There is no filter" in shown(admin_client, f"{TASKS}?q=stat:failed")

    def test_takes_the_parameters_that_other_pages_link_to(self, admin_client: Client, stage: Stage) -> None:
        task_id, _ = stage.task("other"), stage.task()
        assert found(admin_client, "", name="other", state="pending") == [task_id]
        assert listed(admin_client, "", name="other", state="all").text == "name:other"

    def test_offers_what_it_knows(self, admin_client: Client, stage: Stage) -> None:
        stage.task("collect")
        words = json.loads(listed(admin_client).words)
        assert words["filters"]["attr."].startswith("an attribute")
        assert words["values"]["name"] == ["collect"]
        assert "failed" in words["values"]["state"]

    def test_leads_to_everything_that_matches(self, admin_client: Client) -> None:
        address = listed(admin_client, "state:failed,expired attr.note:é").everything
        assert urlsplit(address).path == "/admin/bulk/"
        (document,) = parse_qs(urlsplit(address).query)["filter"]
        assert json.loads(document) == {"state": ["failed", "expired"], "attr.note": "é"}
        assert json.loads(parse_qs(urlsplit(listed(admin_client).everything).query)["filter"][0]) == {"all": True}

    def test_leads_there_only_who_may_steer(self, admin_client: Client) -> None:
        assert "Act on everything" in shown(admin_client, TASKS)
        assert "Act on everything" not in shown(staff("view"), TASKS)


class TestCells:
    def test_lead_to_more_of_the_same_within_the_filters_in_force(
        self, admin_client: Client, stage: Stage
    ) -> None:
        worker = stage.worker("w 7")
        stage.failed(worker, error='line "one", which breaks\nline two', cloud="a,ws")
        content = shown(admin_client, f"{TASKS}?q=age:<1d")
        texts = [text_of(part.split('"')[0]) for part in content.split('class="narrow" href="')[1:]]
        assert texts == [
            "age:<1d name:tag",
            'age:<1d attr.cloud:"a,ws"',
            "age:<1d state:failed",
            r'age:<1d error:~"line \"one\", which breaks"',
            'age:<1d worker:"w 7"',
        ]
        assert all(len(found(admin_client, text)) == 1 for text in texts)

    def test_are_escaped_and_kept_apart(self, admin_client: Client, stage: Stage) -> None:
        stage.failed(stage.worker(HOSTILE), error=f"{HOSTILE}\u202e", note=f"{HOSTILE}\u202e")
        content = shown(admin_client, f'{TASKS}?q=attr.note:"{HOSTILE}\u202e"')
        assert HOSTILE not in content
        assert content.count("<bdi>&lt;script&gt;") + content.count("<bdi>note=&lt;script&gt;") >= 2


class TestPages:
    def test_follow_each_other_and_lead_back(self, admin_client: Client, stage: Stage) -> None:
        tasks = stage.tasks(120)[::-1]
        first = listed(admin_client, "name:tag")
        assert [task.pk for task in first.result_list] == tasks[:50]
        assert not first.newer
        second = admin_client.get(TASKS + first.older).context["cl"]
        assert [task.pk for task in second.result_list] == tasks[50:100]
        third = admin_client.get(TASKS + second.older).context["cl"]
        assert [task.pk for task in third.result_list] == tasks[100:]
        assert not third.older
        back = admin_client.get(TASKS + third.newer).context["cl"]
        assert [task.pk for task in back.result_list] == tasks[50:100]
        assert text_of(back.newest) == text_of(back.newer) == "name:tag"

    def test_say_how_far_a_search_has_come(
        self, admin_client: Client, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(portions, "SECONDS", 0)
        monkeypatch.setattr(searching, "FIRST_PORTION", 10)
        wanted, *_ = stage.task(cloud="aws"), stage.tasks(15)
        content = shown(admin_client, f"{TASKS}?q=cloud=aws")
        assert "The search looked at the newest 10 tasks, back to those of 20" in content
        assert "Search further back" in content
        further = admin_client.get(TASKS + listed(admin_client, "cloud=aws").older).context["cl"]
        assert [task.pk for task in further.result_list] == [wanted]

    @pytest.mark.parametrize("query", ["before=x", "after=", "before=%00"])
    def test_begin_at_an_id(self, admin_client: Client, query: str) -> None:
        assert admin_client.get(f"{TASKS}?{query}").status_code == 302

    def test_count_nothing(self, admin_client: Client, stage: Stage, django_assert_max_num_queries: Any) -> None:
        stage.tasks(60)
        with django_assert_max_num_queries(30) as captured:
            shown(admin_client, TASKS)
        tasks = [query["sql"] for query in captured if "queueapp_task" in query["sql"]]
        assert tasks
        assert not [sql for sql in tasks if "COUNT(" in sql]
        assert not [sql for sql in tasks if "LIMIT" not in sql and '"id" IN' not in sql]


class TestActions:
    pytestmark = pytest.mark.django_db(transaction=True)

    def test_are_for_the_selected(self, admin_client: Client, stage: Stage) -> None:
        first, second = stage.tasks(2)
        assert act(admin_client, "task", "cancel", first) == ["1 task cancelled."]
        assert set(found(admin_client, "state:pending")) == {second}

    def test_find_nothing_by_a_filter_that_cannot_be_used(self, admin_client: Client, stage: Stage) -> None:
        task_id = stage.task()
        form = {"action": "cancel", "_selected_action": [str(task_id)], "index": 0}
        admin_client.post(f"{list_url('task')}?q=name:tag+stat:failed", form)
        assert found(admin_client, "state:pending") == [task_id]

    def test_are_never_for_everything_that_matches(self, admin_client: Client, stage: Stage) -> None:
        task_id, other = stage.tasks(2)
        form = {"action": "cancel", "_selected_action": [str(task_id)], "index": 0, "select_across": 1}
        assert admin_client.post(list_url("task"), form).status_code == 400
        assert set(found(admin_client, "state:pending")) == {task_id, other}


class TestViews:
    @pytest.fixture
    def operator(self) -> Client:
        return staff("view", "change")

    def save(self, client: Client, **form: str) -> Any:
        return client.post(reverse("admin:task-view-save"), form, follow=True)

    def names(self, client: Client) -> dict[str, list[str]]:
        bar = listed(client)
        return {
            kind: [view.word for view in getattr(bar, f"{kind}_views")] for kind in ("standard", "shared", "own")
        }

    def test_are_there_from_the_beginning(self, admin_client: Client, stage: Stage) -> None:
        stage.failed(stage.worker())
        bar = listed(admin_client)
        assert [view.word for view in bar.standard_views] == [
            "all",
            "failed in the last hour",
            "waiting longer than 5 minutes",
            "running",
        ]
        counts = [len(found(admin_client, text_of(view.address))) for view in bar.standard_views]
        assert counts == [1, 1, 0, 0]

    def test_are_saved_opened_and_deleted_by_their_owner(self, operator: Client) -> None:
        response = self.save(operator, name=" My  errors ", text="state:failed cloud=aws")
        assert [str(message) for message in response.context["messages"]] == ["The view “My errors” was saved."]
        (view,) = listed(operator).own_views
        assert (view.word, text_of(view.address)) == ("My errors", "state:failed attr.cloud:aws")
        assert listed(operator, "cloud=aws state:failed").own_views[0].is_current
        operator.post(reverse("admin:task-view-delete", args=[view.key]))
        assert self.names(operator)["own"] == []

    def test_of_one_are_not_for_others(self, operator: Client, admin_client: Client) -> None:
        self.save(operator, name="mine", text="state:failed")
        assert self.names(admin_client)["own"] == []
        admin_client.post(reverse("admin:task-view-delete", args=[SavedView.objects.get().pk]))
        assert self.names(operator)["own"] == ["mine"]

    def test_are_replaced_under_their_name(self, operator: Client) -> None:
        self.save(operator, name="mine", text="state:failed")
        self.save(operator, name="mine", text="state:expired")
        assert list(SavedView.objects.values_list("name", "text")) == [("mine", "state:expired")]

    def test_may_be_shared_and_are_then_every_operators(self, operator: Client, admin_client: Client) -> None:
        self.save(operator, name="ours", text="state:failed", shared="on")
        assert self.names(staff("view")) == {**self.names(operator), "shared": ["ours"], "own": []}
        self.save(admin_client, name="ours", text="state:expired", shared="on")
        assert list(SavedView.objects.values_list("name", "text")) == [("ours", "state:expired")]
        operator.post(reverse("admin:task-view-delete", args=[SavedView.objects.get().pk]))
        assert self.names(operator)["shared"] == []

    def test_that_are_shared_are_in_the_audit_log(self, operator: Client) -> None:
        self.save(operator, name="mine", text="state:failed")
        self.save(operator, name="ours", text="state:expired", shared="on")
        for view in SavedView.objects.all():
            operator.post(reverse("admin:task-view-delete", args=[view.pk]))
        entries = AuditEntry.objects.order_by("id").values_list("who", "action", "kind", "subject", "detail")
        assert list(entries) == [
            ("staff view+change", "share", "view", "ours", "state:expired"),
            ("staff view+change", "delete", "view", "ours", "state:expired"),
        ]

    def test_are_neither_saved_nor_deleted_by_who_only_looks(self, operator: Client) -> None:
        self.save(operator, name="ours", text="state:failed", shared="on")
        viewer = staff("view")
        assert self.save(viewer, name="mine", text="state:failed").status_code == 403
        key = SavedView.objects.get().pk
        assert viewer.post(reverse("admin:task-view-delete", args=[key])).status_code == 403
        assert list(SavedView.objects.values_list("name", flat=True)) == ["ours"]
        content = shown(viewer, f"{TASKS}?q=state:failed")
        assert "ours" in content
        assert "/views/" not in content

    def test_are_closed_to_who_may_not_view_tasks(self) -> None:
        stranger = staff("view", models=["queue"])
        assert self.save(stranger, name="x", text="state:failed").status_code == 403
        assert not SavedView.objects.exists()

    def test_are_saved_by_a_post_alone(self, operator: Client) -> None:
        assert operator.get(reverse("admin:task-view-save"), {"name": "x", "text": ""}).status_code == 405

    @pytest.mark.parametrize(
        "form",
        [
            {"name": "", "text": "state:failed"},
            {"name": "x" * 61, "text": "state:failed"},
            {"name": "a\x00b", "text": "state:failed"},
            {"name": "x", "text": "stat:failed"},
            {"name": "x", "text": "a" * 5000},
        ],
        ids=["no-name", "long-name", "nul", "not-a-filter", "long-text"],
    )
    def test_that_cannot_be_saved_say_why(self, operator: Client, form: dict[str, str]) -> None:
        (message,) = self.save(operator, **form).context["messages"]
        assert message.level_tag == "error"
        assert not SavedView.objects.exists()

    def test_are_not_more_than_a_page_has_room_for(
        self, operator: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(saved_views, "VIEWS_OF_ONE", 1)
        self.save(operator, name="a", text="state:failed")
        self.save(operator, name="b", text="state:failed")
        assert self.names(operator)["own"] == ["a"]

    def test_with_hostile_names_are_escaped(self, operator: Client) -> None:
        self.save(operator, name=HOSTILE, text=f"attr.note:{HOSTILE}")
        content = shown(operator, f"{TASKS}?q=attr.note:{HOSTILE}")
        assert HOSTILE not in content
        assert "&lt;script&gt;" in content


def test_a_task_is_found_by_the_link_of_its_worker(admin_client: Client, stage: Stage) -> None:
    worker = stage.worker("")
    task_id = stage.failed(worker)
    assert page_url("workersession", worker) in shown(admin_client, TASKS)
    assert found(admin_client, f"worker:{worker}") == [task_id]
