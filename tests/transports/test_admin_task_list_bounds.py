"""The list of tasks at its bounds: searches without time, the ends of the calendar, long texts, large rows."""

from __future__ import annotations

import json
from typing import Any

import pytest
from admin_rows import Stage, act, shown, staff
from asking import asking
from django.contrib.auth import get_user_model
from django.test import Client
from django.urls import reverse

from queueapp import portions, searching
from queueapp.domain.filter_text import TEXT_LENGTH
from queueapp.models import SavedView, Task
from tests.endless import endless

pytestmark = pytest.mark.django_db

TASKS = "/admin/queueapp/task/"


class TestASearchWithoutTime:
    @pytest.fixture(autouse=True)
    def no_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(portions, "SECONDS", 0)
        monkeypatch.setattr(searching, "FIRST_PORTION", 10)

    def test_for_newer_ones_says_how_far_it_came_where_it_began_again_at_the_newest(
        self, admin_client: Client, stage: Stage
    ) -> None:
        task_ids = stage.tasks(25)
        content = shown(admin_client, f"{TASKS}?q=cloud=aws&after={task_ids[-5]}")
        assert "The search looked at the newest 10 tasks, back to those of 20" in content

    def test_for_newer_ones_says_up_to_where_it_came(self, admin_client: Client, stage: Stage) -> None:
        task_ids = stage.tasks(25)
        content = shown(admin_client, f"{TASKS}?q=cloud=aws&after={task_ids[0]}")
        assert "The search looked at 10 newer tasks, up to those of 20" in content

    def test_for_older_ones_says_back_to_where_it_came(self, admin_client: Client, stage: Stage) -> None:
        task_ids = stage.tasks(25)
        content = shown(admin_client, f"{TASKS}?q=cloud=aws&before={task_ids[-1]}")
        assert "The search looked at the next 10 tasks, back to those of 20" in content


@pytest.mark.parametrize(
    ("created", "found"),
    [(">0001-01-01", 1), ("<9999-12-31T23:55", 1), ("<0001-01-01", 0), (">9999-12-31T23:55", 0)],
)
def test_the_ends_of_the_calendar_are_times_like_others(
    admin_client: Client, stage: Stage, created: str, found: int
) -> None:
    stage.task()
    response = admin_client.get(TASKS, {"q": f"created:{created}"})
    assert len(response.context["cl"].result_list) == found


@pytest.mark.django_db(transaction=True)
def test_an_action_leaves_the_texts_of_the_chosen_unread(admin_client: Client, stage: Stage) -> None:
    task_id = stage.task()
    with asking() as asked:
        assert act(admin_client, "task", "cancel", task_id) == ["1 task cancelled."]
    texts = [f'"queueapp_task"."{name}"' for name in ("data", "result")]
    of_tasks = [sql for sql in asked if 'FROM "queueapp_task"' in sql]
    assert of_tasks
    assert not [sql for sql in of_tasks if any(text in sql for text in texts)]
    assert Task.objects.get(pk=task_id).state == "cancelled"


class TestManyValues:
    @pytest.mark.parametrize("member", ["attr.cloud", "data.x", "tag", "name", "worker"])
    def test_of_one_filter_are_refused_with_their_bound(
        self, admin_client: Client, stage: Stage, member: str
    ) -> None:
        stage.task()
        text = f"{member}:{','.join('ab' for _ in range(101))}"
        content = shown(admin_client, f"{TASKS}?q={text}")
        assert f"“{member}” takes at most 100 values" in content

    @pytest.mark.parametrize("member", ["attr.cloud", "name"])
    def test_are_refused_where_they_come_as_a_document(self, admin_client: Client, member: str) -> None:
        document = {member: [f"v{number}" for number in range(101)]}
        response = admin_client.get("/admin/bulk/", {"filter": json.dumps(document)})
        assert response.context["errors"] == [f"/{member}: takes at most 100 values"]

    @pytest.mark.parametrize("values", [{"name": "x"}, {"state": "failed"}])
    def test_are_refused_in_the_lists_of_the_api(self, admin_client: Client, values: dict[str, str]) -> None:
        ((member, value),) = values.items()
        response = admin_client.get("/api/v1/tasks", {member: ",".join([value] * 101)})
        assert response.status_code == 400
        assert "takes at most 100 values" in response.content.decode()

    def test_up_to_the_bound_are_searched(self, admin_client: Client, stage: Stage) -> None:
        task_id = stage.task(cloud="c99")
        text = f"attr.cloud:{','.join(f'c{number}' for number in range(100))}"
        found = admin_client.get(TASKS, {"q": text}).context["cl"].result_list
        assert [task.pk for task in found] == [task_id]


class TestViews:
    def save(self, client: Client, **form: str) -> Any:
        return client.post(reverse("admin:task-view-save"), form)

    def test_that_are_shared_stay_when_their_owner_goes_and_are_everybodys(self) -> None:
        owner = staff("view", "change")
        self.save(owner, name="ours", text="state:failed", shared="on")
        self.save(owner, name="mine", text="state:failed")
        get_user_model().objects.get().delete()
        (view,) = SavedView.objects.all()
        assert (view.name, view.owner_id) == ("ours", None)
        heir = staff("view", "change")
        assert [link.word for link in heir.get(TASKS).context["cl"].shared_views] == ["ours"]
        heir.post(reverse("admin:task-view-delete", args=[view.pk]))
        assert not SavedView.objects.exists()

    def test_without_an_owner_are_the_next_ones_who_saves_them(self) -> None:
        SavedView.objects.create(name="ours", text="state:failed", shared=True)
        self.save(staff("view", "change"), name="ours", text="state:expired", shared="on")
        (view,) = SavedView.objects.all()
        assert (view.text, view.owner_id) == ("state:expired", get_user_model().objects.get().pk)

    @pytest.mark.parametrize("text", ["a" * 20_000, "é" * TEXT_LENGTH], ids=["long", "long-when-encoded"])
    def test_with_a_text_too_long_for_an_address_lead_back_to_the_list(self, text: str) -> None:
        operator = staff("view", "change")
        for name in ("save", "delete"):
            arguments = [SavedView().pk] if name == "delete" else []
            response = operator.post(
                reverse(f"admin:task-view-{name}", args=arguments), {"name": "x", "text": text}
            )
            assert (response.status_code, response["Location"]) == (302, TASKS)


def test_a_bulk_preview_without_time_says_so_and_may_be_carried_out(
    admin_client: Client, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.tasks(3)
    monkeypatch.setattr(portions, "STATEMENT_SECONDS", 0.05)
    with endless(lambda sql, _: "queueapp_task" in sql):
        content = shown(admin_client, "/admin/bulk/?action=cancel&data.x=1")
    assert "0 or more tasks" in content
    assert "There was no time to count them" in content
    assert 'id="bulk-confirm"' in content
