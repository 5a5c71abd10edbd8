"""The page of errors: what it shows to whom, and where it leads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from admin_rows import HOSTILE, Stage, page_url, shown, staff
from django.test import Client

from queueapp import error_groups
from queueapp.models import Attempt, Task

pytestmark = pytest.mark.django_db
ERRORS = "/admin/errors/"


@pytest.fixture
def worker(stage: Stage) -> Any:
    return stage.worker()


def groups(client: Client, window: str = "24h") -> list[dict[str, Any]]:
    return client.get(f"{ERRORS}?window={window}").context["groups"]


class TestAGroup:
    def test_is_shown_with_its_numbers_and_its_last_error(self, admin_client: Client, stage: Stage, worker: Any):
        replace(stage, now=stage.now - timedelta(seconds=1)).failed(worker, "disk 7 full\nof 8")
        last = stage.failed(worker, "disk 8 full\nof 9")
        page = shown(admin_client, ERRORS)
        assert "disk &lt;n&gt; full" in page
        assert "disk 8 full\nof 9" in page
        assert page_url("task", last) in page
        [group] = groups(admin_client)
        assert (group["errors"], group["final"], group["tried_again"], group["failed"]) == ("2", "2", "0", "2")

    def test_leads_to_its_tasks(self, admin_client: Client, stage: Stage, worker: Any):
        mine = {stage.failed(worker, f"disk {number} full") for number in range(3)}
        stage.failed(worker, "another")
        largest, _ = groups(admin_client)
        listed = admin_client.get(unescape(largest["tasks"])).context["cl"].result_list
        assert {task.pk for task in listed} == mine

    def test_leads_to_the_retry_of_all_of_them(self, admin_client: Client, stage: Stage, worker: Any):
        stage.failed(worker, "disk 7 full")
        stage.failed(worker, "disk 8 full")
        stage.failed(worker, "another")
        largest, _ = groups(admin_client)
        preview = admin_client.get(unescape(largest["retry_all"])).context["preview"]
        assert preview.count == 2

    def test_leads_who_may_only_look_to_no_change(self, stage: Stage, worker: Any):
        stage.failed(worker)
        [group] = groups(staff("view"))
        assert group["retry_all"] is None

    def test_of_which_no_task_is_failed_any_more_leads_to_none(
        self, admin_client: Client, stage: Stage, worker: Any
    ):
        task_id = stage.failed(worker)
        Task.objects.filter(pk=task_id).update(error_group=None)
        [group] = groups(admin_client)
        assert (group["tasks"], group["retry_all"]) == (None, None)

    def test_has_its_first_part_shown_of_a_long_error(self, admin_client: Client, stage: Stage, worker: Any):
        stage.failed(worker, "broken\n" + "x" * 1_000_000 + "the end")
        page = shown(admin_client, ERRORS)
        assert "Its beginning." in page
        assert len(page) < 30_000

    def test_without_a_text_is_called_so(self, admin_client: Client, stage: Stage, worker: Any):
        stage.failed(worker, "")
        assert "An error without a text" in shown(admin_client, ERRORS)

    def test_is_escaped(self, admin_client: Client, stage: Stage, worker: Any):
        stage.failed(worker, HOSTILE)
        page = shown(admin_client, ERRORS)
        assert HOSTILE not in page
        assert "&lt;script&gt;alert(<n>)".replace("<n>", "&lt;n&gt;") in page

    def test_counted_to_a_bound_has_no_number_that_reads_as_exact_and_no_bars(
        self, admin_client: Client, stage: Stage, worker: Any, monkeypatch: pytest.MonkeyPatch
    ):
        stage.failed(worker)
        [group] = groups(admin_client)
        assert group["bars"]
        assert "No bars" not in shown(admin_client, ERRORS)
        stage.failed(worker)
        monkeypatch.setattr(error_groups, "COUNTED_ROWS", 2)
        [group] = groups(admin_client)
        assert (group["errors"], group["final"], group["tried_again"]) == ("2+", "2+", "0+")
        assert group["bars"] == []
        assert "No bars: only the latest were counted" in shown(admin_client, ERRORS)
        assert "No bars" not in shown(admin_client, f"{ERRORS}?window=all")


class TestWhoMay:
    @pytest.mark.parametrize(("models", "status"), [(["task", "attempt"], 200), (["task"], 403)])
    def test_see_it_are_those_who_may_view_tasks_and_attempts(self, models: list[str], status: int):
        viewer = staff("view", models=models)
        assert viewer.get(ERRORS).status_code == status
        assert (f'href="{ERRORS}"' in shown(viewer, "/admin/")) is (status == 200)

    def test_see_it_is_nobody_who_has_not_logged_in(self):
        assert Client().get(ERRORS).status_code == 302


def test_a_window_that_there_is_not_is_not_found(admin_client: Client):
    assert admin_client.get(f"{ERRORS}?window=9h").status_code == 404


def test_what_failed_before_is_spoken_of(admin_client: Client, stage: Stage, worker: Any):
    old = stage.failed(worker)
    Task.objects.update(error_group=None)
    Attempt.objects.update(error_group=None)
    response = admin_client.get(ERRORS)
    assert "1 task failed before errors were grouped" in response.content.decode()
    listed = admin_client.get(unescape(response.context["ungrouped_tasks"])).context["cl"].result_list
    assert [task.pk for task in listed] == [old]


@pytest.mark.parametrize("word", ["", "x", "00000000-0000-0000-0000-000000000000"])
def test_another_group_has_no_tasks(admin_client: Client, stage: Stage, worker: Any, word: str):
    stage.failed(worker)
    response = admin_client.get("/admin/queueapp/task/", {"q": f"error_group:{word}"})
    assert list(response.context["cl"].result_list) == []


def test_forty_groups_take_as_many_queries_as_one(
    admin_client: Client, stage: Stage, worker: Any, django_assert_max_num_queries: Callable[..., Any]
):
    stage.failed(worker)
    with django_assert_max_num_queries(12) as few:
        shown(admin_client, ERRORS)
    for number in range(40):
        stage.failed(worker, f"broken in {'x' * number}")
    with django_assert_max_num_queries(len(few)):
        assert len(groups(admin_client)) == 41
