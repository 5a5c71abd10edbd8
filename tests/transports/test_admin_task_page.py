"""A task's own page: where it stands, why, what became of it and what can be done; and what it is asked for."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from html import unescape
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import pytest
from admin_rows import HOSTILE, Stage, page_url, shown, staff
from django.test import Client

from queueapp import lifecycle, queues
from queueapp.admin import task_page
from queueapp.domain.submission import Submission
from queueapp.models import Attempt, Queue, Task
from queueapp.registration import parse_query

pytestmark = pytest.mark.django_db


def context(client: Client, task_id: UUID) -> Any:
    response = client.get(page_url("task", task_id))
    assert response.status_code == 200
    return response.context


def remedies(client: Client, task_id: UUID) -> dict[str, str | None]:
    return {remedy.text: remedy.address or remedy.code for remedy in context(client, task_id)["remedies"]}


class TestWhereItStands:
    def test_is_said_in_the_sentence_of_explain(self, admin_client: Client, stage: Stage):
        task_id = stage.task(cloud="azure")
        summary = admin_client.get(f"/api/v1/tasks/{task_id}/explain").json()["summary"]
        assert summary in unescape(shown(admin_client, page_url("task", task_id)))

    def test_is_said_of_each_worker_with_a_link(self, admin_client: Client, stage: Stage):
        aws, gcp = stage.worker("w-aws", cloud="aws"), stage.worker("w-gcp", cloud="gcp")
        other = stage.worker("w-other", "collect")
        task_id = stage.task(cloud="aws")
        page = shown(admin_client, page_url("task", task_id))
        assert all(page_url("workersession", worker) in page for worker in (aws, gcp, other))
        found = context(admin_client, task_id)
        assert found["chosen"]["name"] == "w-aws"
        assert [each["group"].message for each in found["groups"]] == [
            "1 would be taken",
            "1 fails cloud",
            "1 does not offer tag",
        ]

    def test_names_some_of_many_workers_and_the_number_of_the_others(self, admin_client: Client, stage: Stage):
        for number in range(25):
            stage.worker(f"w{number}", cloud="gcp")
        [group] = context(admin_client, stage.task(cloud="aws"))["groups"]
        assert (len(group["workers"]), group["more"]) == (20, 5)

    def test_takes_as_many_queries_for_thirty_workers_as_for_one(
        self, admin_client: Client, stage: Stage, django_assert_max_num_queries: Callable[..., Any]
    ):
        stage.worker("w")
        task_id = stage.task()
        with django_assert_max_num_queries(30) as few:
            context(admin_client, task_id)
        for number in range(30):
            stage.worker(f"w{number}", cloud="gcp")
        with django_assert_max_num_queries(len(few)):
            context(admin_client, task_id)


class TestWhatCanBeDone:
    def test_about_a_paused_queue_is_on_its_page(self, admin_client: Client, stage: Stage):
        stage.worker()
        task_id = stage.task()
        queues.pause(["tag"], "ada", "upstream is down", stage.now)
        assert remedies(admin_client, task_id) == {"resume queue tag": page_url("queue", "tag")}

    def test_about_a_limit_is_on_its_queues_page(self, admin_client: Client, stage: Stage):
        worker = stage.worker()
        stage.assign(worker, stage.task())
        Queue.objects.update_or_create(name="tag", defaults={"concurrency": 1})
        task_id = stage.task()
        assert remedies(admin_client, task_id)["raise the limits of queue tag"] == page_url("queue", "tag")

    def test_about_a_task_that_nobody_accepts_is_a_worker_that_would(self, admin_client: Client, stage: Stage):
        nearest = stage.worker("w7", cloud="aws", zone="a")
        stage.worker("w8", cloud="gcp", zone="b")
        task_id = stage.task(cloud="azure", zone="a")
        found = remedies(admin_client, task_id)
        assert found["see the worker that comes nearest, w7"] == page_url("workersession", nearest)
        query = urlsplit(found["it would be taken by a worker that attaches with"]).query
        [offer] = parse_query(query.encode(), 100).offers
        assert offer.subscription.misses({"cloud": "azure", "zone": "a"}) == ()

    def test_about_a_task_that_nobody_accepts_is_looked_for_in_the_sandbox_and_the_coverage(
        self, admin_client: Client, stage: Stage
    ):
        stage.worker("w7", cloud="aws")
        found = remedies(admin_client, stage.task(cloud="azure"))
        sandbox = admin_client.get(str(found["try other attributes"]), follow=True)
        assert (sandbox.context["name"], sandbox.context["attrs"].strip()) == ("tag", "cloud=azure")
        covered = admin_client.get(str(found["see what is covered by whom"]))
        assert covered.context["search"] == "tag"

    def test_about_a_name_that_looks_misspelt_is_said(self, admin_client: Client, stage: Stage):
        stage.worker("w7", "collect")
        page = unescape(shown(admin_client, page_url("task", stage.task(name="colect"))))
        assert "did you mean collect?" in page

    def test_about_an_attribute_that_no_query_can_say_is_no_query(self, admin_client: Client, stage: Stage):
        stage.worker("w7", cloud="aws")
        task_id = stage.task(cloud="a,b")
        assert "it would be taken by a worker that attaches with" not in remedies(admin_client, task_id)

    def test_about_one_that_runs_is_with_its_worker(self, admin_client: Client, stage: Stage):
        worker = stage.worker()
        task_id = stage.task()
        stage.assign(worker, task_id)
        assert remedies(admin_client, task_id) == {"see its worker": page_url("workersession", worker)}

    def test_about_one_that_failed_is_with_the_others_of_its_cause(self, admin_client: Client, stage: Stage):
        task_id = stage.failed(stage.worker())
        group = Task.objects.get(pk=task_id).error_group
        address = remedies(admin_client, task_id)["see the others that failed by this cause"]
        assert address == f"/admin/errors/?window=all#group-{group}"
        assert f'id="group-{group}"' in shown(admin_client, "/admin/errors/?window=all")

    def test_leads_nobody_to_a_page_that_he_may_not_open(self, stage: Stage):
        worker = stage.worker("w7", cloud="aws")
        unmatched, failed, held = stage.task(cloud="azure"), stage.failed(worker, cloud="aws"), stage.task()
        paused = stage.task("collect")
        stage.assign(worker, held)
        queues.pause(["collect"], "ada", "", stage.now)
        only_tasks, everything = staff("view", models=["task"]), staff("change", "view")
        for task_id in (unmatched, failed, held, paused):
            addresses = [each.address for each in context(only_tasks, task_id)["remedies"] if each.address]
            assert [only_tasks.get(address).status_code for address in addresses] == [200] * len(addresses)
            assert addresses == []
            assert any(each.address for each in context(everything, task_id)["remedies"])

    def test_has_the_buttons_that_its_state_allows(self, admin_client: Client, stage: Stage):
        pending, failed = stage.task(), stage.failed(stage.worker())
        assert [name for name, _ in context(admin_client, pending)["buttons"]] == ["cancel"]
        assert [name for name, _ in context(admin_client, failed)["buttons"]] == ["retry"]


class TestWhatBecameOfIt:
    def test_has_each_attempt_with_its_worker_and_its_error(self, admin_client: Client, stage: Stage):
        worker = stage.worker("w7")
        task_id = stage.failed(worker, "it broke\nin two lines")
        page = shown(admin_client, page_url("task", task_id))
        attempt = Attempt.objects.get()
        assert f'<a href="{page_url("attempt", attempt.pk)}">attempt 1: error</a>' in page
        assert page_url("workersession", worker) in page
        assert "it broke\nin two lines" in page
        assert "{\n  &quot;line&quot;: 7\n}" in page

    def test_shows_the_beginning_of_a_long_error_and_leads_to_the_whole(self, admin_client: Client, stage: Stage):
        task_id = stage.failed(stage.worker(), "é" * 300_000 + "the end")
        page = shown(admin_client, page_url("task", task_id))
        assert "the end" not in page
        attempt = Attempt.objects.get()
        whole = admin_client.get(f"/admin/queueapp/task/attempt/{attempt.pk}/text/error")
        assert whole.content.decode().endswith("éthe end")


class TestWhatItCarries:
    def test_is_readable_json_and_escaped(self, admin_client: Client, stage: Stage):
        task_id = stage.task(data=json.dumps({"text": HOSTILE, "n": [1]}))
        page = shown(admin_client, page_url("task", task_id))
        assert HOSTILE not in page
        assert unescape(page).count(f'{{\n  "text": "{HOSTILE}",\n  "n": [\n    1\n  ]\n}}') == 1

    def test_is_cut_where_it_is_large_and_whole_as_a_text(self, admin_client: Client, stage: Stage):
        data = json.dumps({"text": "x" * 1_000_000, "last": "the end"})
        task_id = stage.task(data=data)
        page = shown(admin_client, page_url("task", task_id))
        assert len(page) < 100_000
        assert "This is its beginning." in page
        whole = admin_client.get(f"/admin/queueapp/task/{task_id}/text/data")
        assert whole.content.decode() == data

    def test_is_sent_as_nothing_that_a_browser_would_run(self, admin_client: Client, stage: Stage):
        task_id = stage.task(data=json.dumps(f"<html>{HOSTILE}"))
        whole = admin_client.get(f"/admin/queueapp/task/{task_id}/text/data")
        assert whole["Content-Type"] == "text/plain; charset=utf-8"
        assert whole["X-Content-Type-Options"] == "nosniff"
        assert whole["Content-Disposition"] == f'attachment; filename="task-{task_id}-data.txt"'

    @pytest.mark.parametrize("member", ["result", "traceparent", "backoff"])
    def test_is_not_found_where_there_is_nothing_or_nothing_to_be_had(
        self, admin_client: Client, stage: Stage, member: str
    ):
        task_id = stage.task()
        assert admin_client.get(f"/admin/queueapp/task/{task_id}/text/{member}").status_code == 404
        assert admin_client.get(f"/admin/queueapp/task/{uuid4()}/text/data").status_code == 404


class TestWhileOneLooks:
    def test_its_progress_is_told_by_one_query_of_its_row(
        self, admin_client: Client, stage: Stage, django_assert_num_queries: Callable[..., Any]
    ):
        worker, task_id = stage.worker(), stage.task()
        stage.assign(worker, task_id)
        lifecycle.prolong([lifecycle.SignOfLife(worker, task_id, None, 0.25, HOSTILE)], stage.now)
        address = context(admin_client, task_id)["now_address"]
        with django_assert_num_queries(3) as asked:  # two of them for the user
            told = admin_client.get(address)
        assert told.json() == {"state": "assigned", "attempt": 1, "progress": 0.25, "progress_message": HOSTILE}
        assert "no-store" in told["Cache-Control"]
        [asked_of_tasks] = [query["sql"] for query in asked if "queueapp_task" in query["sql"]]
        assert "data" not in asked_of_tasks

    def test_of_a_task_that_is_gone_nothing_is_told(self, admin_client: Client):
        assert admin_client.get(f"/admin/now?watch=task/{uuid4()}").json() is None

    def test_one_that_is_over_is_marked_so_that_nobody_asks(self, admin_client: Client, stage: Stage):
        marked = 'data-state="{}" data-attempt="{}"{}'
        page = shown(admin_client, page_url("task", stage.failed(stage.worker())))
        assert marked.format("failed", 1, " data-over") in page
        page = shown(admin_client, page_url("task", stage.task()))
        assert marked.format("pending", 0, ">") in page


@pytest.mark.parametrize("path", ["{task}/text/error", "attempt/{attempt}/text/error"])
@pytest.mark.parametrize("models", [["queue"], ["attempt"]])
def test_who_may_not_view_tasks_is_told_nothing(admin_client: Client, stage: Stage, path: str, models: list[str]):
    task_id = stage.failed(stage.worker())
    address = f"/admin/queueapp/task/{path.format(task=task_id, attempt=Attempt.objects.get().pk)}"
    assert staff("view", models=models).get(address).status_code == 403
    assert Client().get(address).status_code == 302
    assert admin_client.get(address).status_code == 200


def test_an_attempts_texts_are_for_those_who_may_view_attempts(stage: Stage):
    stage.failed(stage.worker())
    viewer = staff("view", models=["task"])
    assert viewer.get(f"/admin/queueapp/task/attempt/{Attempt.objects.get().pk}/text/error").status_code == 403


def test_a_delayed_task_says_until_when(admin_client: Client, stage: Stage):
    later = stage.now + timedelta(hours=1)
    task_id = lifecycle.submit([Submission("tag", {}, available_at=later)], None, stage.now)[0].task_id
    assert "delayed until" in shown(admin_client, page_url("task", task_id))


def test_a_number_too_long_for_python_is_shown_as_it_is(admin_client: Client, stage: Stage):
    digits = "7" * 5000
    task_id = stage.task(data=digits)
    assert digits in shown(admin_client, page_url("task", task_id))


def test_what_is_indented_is_bounded(admin_client: Client, stage: Stage, monkeypatch: pytest.MonkeyPatch):
    """A small text that grows by its indentation is cut too."""
    task_id = stage.task(data="[" * 50 + ",".join("1" * 5000) + "]" * 50)
    found = next(text for text in context(admin_client, task_id)["payloads"] if text.name == "data")
    assert found.is_cut
    assert len(found.text) == task_page.SHOWN_CHARACTERS
