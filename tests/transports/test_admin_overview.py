"""The overview: who may see it, and what it says of the rows."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from admin_rows import HOSTILE, Stage, shown, staff
from django.db.models import F
from django.test import Client

from queueapp import live, overview, queues
from queueapp.models import Task

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.usefixtures("nothing_is_remembered", "nothing_new_has_waited_long"),
]

NOW = "/admin/now"
PAST = "/admin/overview/past/1h"


def snapshot(client: Client) -> dict[str, Any]:
    live.forget()
    response = client.get(NOW)
    assert response.status_code == 200
    return response.json()


def waited(seconds: float) -> None:
    """All that waits has done so for that long."""
    Task.objects.update(waiting_since=F("waiting_since") - timedelta(seconds=seconds))


def texts(client: Client) -> list[str]:
    return [problem["text"] for problem in snapshot(client)["problems"]]


def test_what_failed_lately_has_a_list_of_its_own(admin_client: Client, stage: Stage) -> None:
    worker = stage.worker()
    lately, earlier = stage.failed(worker), stage.failed(worker)
    Task.objects.filter(pk=earlier).update(finished_at=stage.now - overview.FAILURES_WINDOW - timedelta(seconds=1))
    page = shown(admin_client, "/admin/")
    [address] = re.findall(r'data-failed="([^"]+)"', page)
    assert address == "/admin/queueapp/task/?q=state%3Afailed+finished%3A%3C5m"
    listed = admin_client.get(unescape(address)).context["cl"].result_list
    assert [task.pk for task in listed] == [lately]


class TestAccess:
    @pytest.mark.parametrize("address", [NOW, PAST])
    def test_is_for_staff_that_may_view_tasks_queues_and_workers(self, address: str) -> None:
        assert staff("view").get(address).status_code == 200
        assert staff("change").get(address).status_code == 403

    @pytest.mark.parametrize("left_out", ["task", "queue", "workersession"])
    def test_is_not_for_staff_that_may_view_some_of_these(self, left_out: str) -> None:
        some = [model for model in ("task", "queue", "workersession") if model != left_out]
        assert staff("view", models=some).get(NOW).status_code == 403

    @pytest.mark.parametrize("address", [NOW, PAST])
    def test_others_are_sent_to_the_login(self, client: Client, address: str) -> None:
        assert client.get(address).status_code == 302

    def test_who_may_not_view_it_finds_the_plain_list(self) -> None:
        page = shown(staff("view", models=["apikey"]), "/admin/")
        assert 'id="overview"' not in page
        assert "API keys" in page

    def test_an_unknown_range_does_not_exist(self, admin_client: Client) -> None:
        assert admin_client.get("/admin/overview/past/1y").status_code == 404

    @pytest.mark.parametrize("address", ["/admin/", "/admin/login/", "/admin/queueapp/task/", NOW])
    def test_no_page_takes_scripts_from_elsewhere_or_within(self, admin_client: Client, address: str) -> None:
        policy = admin_client.get(address)["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self'" in policy
        assert "unsafe" not in policy


class TestTheSnapshot:
    def test_counts_what_waits_and_who_works(self, admin_client: Client, stage: Stage) -> None:
        worker = stage.worker("w1", "tag")
        stage.assign(worker, *stage.tasks(2))
        stage.tasks(3)
        now = snapshot(admin_client)["now"]
        assert (now["waiting"], now["waiting_is_exact"], now["assigned"]) == (3, True, 2)
        assert (now["workers_online"], now["workers_draining"], now["nodes"]) == (1, 0, 1)
        assert now["oldest_wait_seconds"] >= 0

    def test_has_the_queues_with_their_health_the_fullest_first(self, admin_client: Client, stage: Stage) -> None:
        stage.worker("w1", "flowing")
        stage.worker("w2", "stuck")
        stage.tasks(2, name="lonely")
        stage.tasks(3, name="stuck")
        stage.task(name="stopped")
        queues.pause(["stopped"], "ada", "", stage.now)
        waited(60)
        stage.task(name="flowing")
        rows = {queue["name"]: queue for queue in snapshot(admin_client)["queues"]}
        assert {name: row["health"] for name, row in rows.items()} == {
            "stuck": "waits",
            "lonely": "no worker",
            "stopped": "paused",
            "flowing": "flows",
        }
        assert next(iter(rows)) == "stuck"
        assert (rows["stuck"]["waiting"], rows["stuck"]["workers"]) == (3, 1)
        assert rows["stuck"]["oldest_wait_seconds"] >= 60

    def test_has_the_workers_with_their_load_the_busiest_first(self, admin_client: Client, stage: Stage) -> None:
        stage.worker("idle", "tag")
        stage.assign(stage.worker("busy", "tag"), *stage.tasks(2))
        stage.close([stage.worker("gone", "tag")])
        workers = snapshot(admin_client)["workers"]
        assert [(w["name"], w["outstanding"], w["max_outstanding"]) for w in workers] == [
            ("busy", 2, 10),
            ("idle", 0, 10),
        ]

    def test_is_kept_for_a_while_for_all_who_ask(
        self,
        admin_client: Client,
        stage: Stage,
        monkeypatch: pytest.MonkeyPatch,
        django_assert_max_num_queries: Any,
    ) -> None:
        monkeypatch.setattr(live, "FRESH_SECONDS", 3600)
        first = admin_client.get(NOW).content
        stage.task()
        with django_assert_max_num_queries(4):  # the session and the permissions
            assert admin_client.get(NOW).content == first

    def test_costs_the_same_statements_however_much_there_is(
        self, admin_client: Client, stage: Stage, django_assert_max_num_queries: Any
    ) -> None:
        for number in range(30):
            stage.worker(f"w{number}", "tag")
            stage.task(n=str(number))
        with django_assert_max_num_queries(20):
            assert snapshot(admin_client)["now"]["waiting"] == 30


class TestWhatIsWrong:
    def test_is_nothing_while_nothing_waits_for_long(self, admin_client: Client, stage: Stage) -> None:
        stage.worker("w", "tag", cloud="aws")
        stage.task(cloud="azure")
        assert texts(admin_client) == []

    def test_names_the_value_that_no_worker_accepts_and_since_when(
        self, admin_client: Client, stage: Stage
    ) -> None:
        stage.worker("w", "tag", cloud="aws,gcp")
        first, *_ = stage.tasks(3, cloud="azure")
        waited(60)
        (problem,) = snapshot(admin_client)["problems"]
        assert problem["text"] == "3 tasks “tag” (cloud=azure) wait: no worker accepts cloud=azure"
        assert (problem["cause"], problem["task"]) == ("no_match", str(first))
        assert problem["since"].endswith("Z")

    def test_tells_a_name_that_nobody_offers(self, admin_client: Client, stage: Stage) -> None:
        stage.worker("w", "tag")
        stage.task(name="tga")
        waited(60)
        assert texts(admin_client) == ["1 task “tga” waits: no worker offers tga"]

    def test_uses_the_words_of_the_dispatcher_for_the_rest(self, admin_client: Client, stage: Stage) -> None:
        stage.task()
        waited(60)
        assert texts(admin_client) == ["1 task “tag” waits: no worker is online"]
        queues.pause(["tag"], "ada", "upstream", stage.now)
        (text,) = texts(admin_client)
        assert "queue tag has been paused by ada" in text
        assert "(upstream)" in text

    def test_tells_of_full_workers(self, admin_client: Client, stage: Stage) -> None:
        stage.assign(stage.worker("w", "tag"), *stage.tasks(10))
        stage.tasks(2)
        waited(60)
        (text,) = texts(admin_client)
        assert text.startswith("2 tasks “tag” wait: candidate w is full (10 of 10 outstanding)")

    def test_is_explained_for_a_few_routes_and_counted_for_the_others(
        self, admin_client: Client, stage: Stage
    ) -> None:
        for number in range(13):
            stage.tasks(2 if number < 10 else 1, n=str(number))
        waited(60)
        found = texts(admin_client)
        assert len(found) == 11
        assert found[-1] == "3 tasks more wait, on 3 other routes"

    def test_what_a_task_says_stays_text(self, admin_client: Client, stage: Stage) -> None:
        stage.worker(HOSTILE, "tag")
        stage.task(name="other", note=HOSTILE)
        waited(60)
        response = admin_client.get(NOW)
        assert response["Content-Type"] == "application/json"
        assert HOSTILE not in shown(admin_client, "/admin/")
