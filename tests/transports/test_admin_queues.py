"""A queue's pages: how it stands, why things wait, what went wrong; paused with a note by a form that says what
will happen, and by nobody who may not."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from admin_rows import HOSTILE, Stage, list_url, page_url, shown, staff
from django.db.models import F
from django.test import Client

from queueapp import lifecycle, live, queues
from queueapp.domain.submission import Submission
from queueapp.models import Queue, QueueRollup, Task

pytestmark = pytest.mark.django_db(transaction=True)

PAUSE = "/admin/queueapp/queue/tag/pause/"
PAST = "/admin/queueapp/queue/tag/past/"


@pytest.fixture(autouse=True)
def _one_waits(stage: Stage) -> None:
    stage.task(cloud="azure")


def queue() -> Queue:
    return Queue.objects.get(pk="tag")


class TestThePageThatPauses:
    def test_says_what_will_happen(self, admin_client: Client, stage: Stage) -> None:
        stage.assign(stage.worker(), *stage.tasks(2))
        page = shown(admin_client, PAUSE)
        assert "2 assigned tasks go on" in page
        assert "1 task waits now" in page
        assert not queue().paused

    def test_pauses_with_a_note_that_every_page_shows(self, admin_client: Client) -> None:
        response = admin_client.post(PAUSE, {"note": "upstream is down"}, follow=True)
        assert [str(message) for message in response.context["messages"]] == ["1 queue paused."]
        assert (queue().paused, queue().paused_by, queue().note) == (True, "admin", "upstream is down")
        assert "by admin: upstream is down" in response.content.decode()
        assert "by admin: upstream is down" in shown(admin_client, list_url("queue"))
        live.forget()
        (snapshot,) = admin_client.get("/admin/now").json()["queues"]
        assert (snapshot["health"], snapshot["pause"]) == ("paused", "by admin: upstream is down")
        explained = admin_client.get(f"/api/v1/tasks/{Task.objects.get().pk}/explain").json()
        assert "upstream is down" in explained["summary"]

    def test_leaves_the_note_of_who_was_first(self, admin_client: Client, stage: Stage) -> None:
        queues.pause(["tag"], "ada", "first", stage.now)
        assert "paused already" in shown(admin_client, PAUSE)
        admin_client.post(PAUSE, {"note": "second"})
        assert (queue().paused_by, queue().note) == ("ada", "first")

    def test_shows_the_note_of_who_paused_it_over_rest(self, admin_client: Client) -> None:
        body = {"note": "by a script"}
        assert admin_client.post("/api/v1/queues/tag/pause", body, "application/json").status_code == 200
        assert "by admin: by a script" in shown(admin_client, page_url("queue", "tag"))

    @pytest.mark.parametrize("note", ["x" * 1001, "\x00"])
    def test_refuses_a_note_that_cannot_be_kept(self, admin_client: Client, note: str) -> None:
        assert admin_client.post(PAUSE, {"note": note}).status_code == 200
        assert not queue().paused

    def test_is_for_those_who_may_change_queues(self, client: Client) -> None:
        viewer = staff("view")
        assert [viewer.get(PAUSE).status_code, viewer.post(PAUSE).status_code] == [403, 403]
        assert client.post(PAUSE).status_code == 302
        assert not queue().paused
        assert f'href="{PAUSE}"' not in shown(viewer, page_url("queue", "tag"))

    @pytest.mark.parametrize("name", ["unknown", "_00", "x" * 300])
    def test_of_an_unknown_queue_there_is_none(self, admin_client: Client, name: str) -> None:
        assert admin_client.get(f"/admin/queueapp/queue/{name}/pause/").status_code == 404


def test_what_waits_leads_to_as_many_tasks(admin_client: Client, stage: Stage) -> None:
    later = Submission("tag", {}, available_at=stage.now + timedelta(hours=1))
    lifecycle.submit([later], None, stage.now)
    for page in (list_url("queue"), page_url("queue", "tag")):
        [(address, number)] = re.findall(
            r'<a href="([^"]+waiting[^"]+)"><span[^>]*>(\d+)</span></a>', shown(admin_client, page)
        )
        listed = admin_client.get(unescape(address)).context["cl"].result_list
        assert (len(listed), number) == (1, "1")


class TestAQueuesPage:
    def test_offers_to_pause_or_to_resume(self, admin_client: Client, stage: Stage) -> None:
        assert f'href="{PAUSE}"' in shown(admin_client, page_url("queue", "tag"))
        queues.pause(["tag"], "ada", "", stage.now)
        page = shown(admin_client, page_url("queue", "tag"))
        assert f'href="{PAUSE}"' not in page
        assert 'value="resume"' in page

    def test_says_why_what_waits_longest_waits_with_links(self, admin_client: Client, stage: Stage) -> None:
        stage.worker("w", "tag", cloud="aws")
        Task.objects.update(waiting_since=F("waiting_since") - timedelta(minutes=1))
        page = shown(admin_client, page_url("queue", "tag"))
        assert "no worker accepts cloud=azure" in page
        assert page_url("task", Task.objects.get().pk) in page
        assert "attr.cloud%3Aazure" in page

    def test_shows_what_went_wrong_in_the_last_hour(self, admin_client: Client, stage: Stage) -> None:
        failed = stage.failed(stage.worker(), error=f"it broke {HOSTILE}")
        page = shown(admin_client, page_url("queue", "tag"))
        assert "it broke &lt;script&gt;" in page
        assert page_url("task", failed) in page

    def test_says_of_each_limit_what_it_does_to_what_runs(self, admin_client: Client) -> None:
        page = shown(admin_client, page_url("queue", "tag"))
        assert page.count("Tasks that were submitted before keep what they have.") == 3
        assert "what is assigned goes on, and nothing is given out until there is room again" in page

    def test_shows_all_of_it_to_who_may_only_look(self) -> None:
        page = shown(staff("view"), page_url("queue", "tag"))
        assert "What waits longest" in page
        assert 'name="_save"' not in page

    @pytest.mark.usefixtures("nothing_new_has_waited_long")
    def test_takes_as_many_queries_for_twenty_routes_as_for_one(
        self, admin_client: Client, stage: Stage, django_assert_max_num_queries: Callable[..., Any]
    ) -> None:
        url = page_url("queue", "tag")
        admin_client.get(url)
        with django_assert_max_num_queries(40) as few:
            shown(admin_client, url)
        for number in range(20):
            stage.failed(stage.worker(), n=str(number))
            stage.task(n=str(number))
        with django_assert_max_num_queries(len(few)):
            shown(admin_client, url)


class TestTheCurves:
    def test_come_as_json(self, admin_client: Client, stage: Stage) -> None:
        begins_at = stage.now.replace(second=0, microsecond=0) - timedelta(minutes=5)
        QueueRollup.objects.create(
            name="tag", begins_at=begins_at, node_id=stage.node_id, submitted=60, finished=0, failed=0
        )
        response = admin_client.get(PAST)
        assert "no-store" in response["Cache-Control"]
        assert [p["submitted"] for p in response.json()["points"] if p["submitted"]] == [1.0]

    def test_of_an_unknown_queue_there_are_none(self, admin_client: Client) -> None:
        assert admin_client.get("/admin/queueapp/queue/unknown/past/").status_code == 404

    def test_are_for_those_who_may_view_queues(self, client: Client) -> None:
        assert staff("view", models=["task"]).get(PAST).status_code == 403
        assert client.get(PAST).status_code == 302
