"""The admin's lists and pages: what they show, what they cost, what they withstand."""

from __future__ import annotations

from collections.abc import Callable
from html import unescape
from typing import Any

import pytest
from admin_rows import HOSTILE, LISTS, Scene, Stage, list_url, page_url, scene, shown, staff
from django.test import Client

from queueapp import naming, queues
from queueapp.admin import lists
from queueapp.auth import create_key
from queueapp.models import Attempt, Node, Subscription, Task, WorkerSession

FILTERED = (
    "task/?state=failed&name=tag",
    "task/?state=assigned",
    "task/?name=unknown",
    "attempt/?outcome=lost",
    "workersession/?state=all",
    "workersession/?state=gone&offers=tag",
    "subscription/?state=all&name=tag",
    "queue/?paused=paused",
    "apikey/?state=all",
    "node/?state=stopped",
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def rows() -> Scene:
    create_key("ci", "producer", ["image.*"])
    return scene()


@pytest.fixture
def viewer() -> Client:
    return staff("view")


class TestEveryPageRenders:
    def test_the_index(self, admin_client: Client, rows: Scene) -> None:
        assert "Work queue" in shown(admin_client, "/admin/")

    @pytest.mark.parametrize("model", LISTS)
    def test_lists(self, admin_client: Client, rows: Scene, model: str) -> None:
        assert "result_list" in shown(admin_client, list_url(model))

    @pytest.mark.parametrize("model", LISTS)
    def test_lists_without_rows(self, admin_client: Client, model: str) -> None:
        assert "result_list" not in shown(admin_client, list_url(model))

    @pytest.mark.parametrize("address", FILTERED)
    def test_filtered_lists(self, admin_client: Client, rows: Scene, address: str) -> None:
        shown(admin_client, f"/admin/queueapp/{address}")

    def test_tasks_in_every_state(self, admin_client: Client, rows: Scene) -> None:
        for task in Task.objects.all():
            assert str(task.pk) in shown(admin_client, page_url("task", task.pk))

    def test_workers_attached_and_gone(self, admin_client: Client, rows: Scene) -> None:
        for session in WorkerSession.objects.all():
            assert str(session.pk) in shown(admin_client, page_url("workersession", session.pk))

    def test_the_other_rows(self, admin_client: Client, rows: Scene) -> None:
        queues.pause(["tag"], "ada", "upstream is down", rows.stage.now)
        for model, key in (
            ("attempt", Attempt.objects.values_list("pk", flat=True)[0]),
            ("subscription", Subscription.objects.values_list("pk", flat=True)[0]),
            ("node", rows.stage.node_id),
            ("apikey", create_key("another", "worker")[0].pk),
            ("queue", "tag"),
        ):
            shown(admin_client, page_url(model, key))

    def test_for_staff_who_may_only_look(self, viewer: Client, rows: Scene) -> None:
        for model in LISTS:
            assert 'name="action"' not in shown(viewer, list_url(model))
        assert "<button" not in shown(viewer, page_url("task", rows.pending)).split("object-tools")[-1][:400]


class TestWhatIsShown:
    def test_a_task_names_its_worker_and_attributes(self, admin_client: Client, rows: Scene) -> None:
        page = shown(admin_client, page_url("task", rows.assigned))
        assert "cloud=gcp" in page
        assert page_url("workersession", rows.worker) in page

    def test_a_task_has_its_attempts(self, admin_client: Client, rows: Scene) -> None:
        page = shown(admin_client, page_url("task", rows.failed))
        assert "attempt 1: error" in page
        assert "&quot;line&quot;: 7" in page

    def test_a_task_outlives_its_workers_row(self, admin_client: Client, rows: Scene) -> None:
        session_id = Task.objects.values_list("last_worker_id", flat=True).get(pk=rows.lost_worker)
        assert str(session_id) in shown(admin_client, page_url("task", rows.lost_worker))

    def test_a_worker_has_its_subscriptions_and_tasks(self, admin_client: Client, rows: Scene) -> None:
        page = shown(admin_client, page_url("workersession", rows.worker))
        assert "cloud=aws,gcp" in page
        assert "&quot;info&quot;" in page
        assert page_url("task", rows.assigned) in page

    def test_the_workers_list_begins_with_the_attached(self, admin_client: Client, rows: Scene) -> None:
        assert str(rows.gone_worker) not in shown(admin_client, list_url("workersession"))
        assert str(rows.gone_worker) in shown(admin_client, list_url("workersession") + "?state=all")

    def test_a_queue_counts_what_is_alive(self, admin_client: Client, rows: Scene) -> None:
        response = admin_client.get(list_url("queue"))
        queue = next(queue for queue in response.context["cl"].result_list if queue.name == "tag")
        standing = vars(queue)["standing"]
        # One of the pending is delayed: nobody could take it now.
        assert (standing.waiting, standing.assigned, standing.workers) == (2, 1, 1)
        assert standing.oldest_since is not None

    def test_a_queues_numbers_lead_to_its_rows(self, admin_client: Client) -> None:
        stage = Stage.started()
        worker = stage.worker("worker", "image:scale_up.v-2")
        waiting, held = stage.tasks(2, name="image:scale_up.v-2")
        stage.task("other")
        stage.assign(worker, held)
        page = shown(admin_client, list_url("queue"))
        addresses = [part.split('"')[0] for part in page.split('href="')[1:] if "scale_up" in part.split('"')[0]]
        found = [admin_client.get(unescape(address)).context.get("cl") for address in addresses]
        keys = [[row.pk for row in each.result_list] for each in found if each is not None]
        assert sorted(keys) == sorted([[waiting], [held], [worker]])

    def test_what_others_wrote_is_escaped(self, admin_client: Client, rows: Scene) -> None:
        queues.pause(["tag"], "ada", HOSTILE, rows.stage.now)
        create_key(HOSTILE, "producer")
        pages = [list_url(model) for model in LISTS]
        pages += [page_url("task", key) for key in Task.objects.values_list("pk", flat=True)]
        pages += [page_url("workersession", rows.worker), page_url("queue", "tag")]
        pages += [page_url("attempt", key) for key in Attempt.objects.values_list("pk", flat=True)]
        content = [shown(admin_client, page) for page in pages]
        assert not [page for page, text in zip(pages, content, strict=True) if HOSTILE in text]
        assert sum("&lt;script&gt;" in text for text in content) >= 8


class TestLongLists:
    @pytest.mark.parametrize("model", LISTS)
    def test_a_page_takes_as_many_queries_for_fifty_rows_as_for_one(
        self, admin_client: Client, model: str, django_assert_max_num_queries: Callable[..., Any]
    ) -> None:
        stage = Stage.started()
        fill(stage, 0)
        admin_client.get(list_url(model))  # content types are read once a process
        with django_assert_max_num_queries(30) as few:
            shown(admin_client, list_url(model))
        for number in range(1, 50):
            fill(stage, number)
        with django_assert_max_num_queries(len(few)):
            response = admin_client.get(list_url(model))
        assert len(response.context["cl"].result_list) == 50

    @pytest.mark.parametrize(("model", "tasks"), [("task", 40), ("workersession", 40)])
    def test_a_rows_page_takes_as_many_queries_for_forty_parts_as_for_one(
        self, admin_client: Client, model: str, tasks: int, django_assert_max_num_queries: Callable[..., Any]
    ) -> None:
        stage = Stage.started()
        worker = stage.worker()
        task_id = stage.task()
        stage.assign(worker, task_id)
        url = page_url(model, task_id if model == "task" else worker)
        add_attempt(stage, worker, task_id, 1)
        admin_client.get(url)
        with django_assert_max_num_queries(30) as few:
            shown(admin_client, url)
        stage.assign(worker, *stage.tasks(tasks))
        for number in range(2, tasks):
            add_attempt(stage, worker, task_id, number)
        with django_assert_max_num_queries(len(few)):
            shown(admin_client, url)

    def test_counting_ends_at_a_bound(self, admin_client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(lists, "LISTED_ROWS", 60)
        stage = Stage.started()
        for _ in range(70):
            stage.worker()
        page = shown(admin_client, list_url("workersession"))
        assert "The first 60 worker sessions" in page
        assert "p=2" in page
        assert "p=3" not in page

    def test_a_list_leaves_payloads_unread(
        self, admin_client: Client, rows: Scene, django_assert_max_num_queries: Callable[..., Any]
    ) -> None:
        with django_assert_max_num_queries(30) as captured:
            shown(admin_client, list_url("task"))
        listing = [
            query["sql"] for query in captured if "ORDER BY" in query["sql"] and "queueapp_task" in query["sql"]
        ]
        assert listing
        assert not any('"queueapp_task"."data"' in sql or '"queueapp_task"."result"' in sql for sql in listing)


def fill(stage: Stage, number: int) -> None:
    """A row for every list."""
    worker = stage.worker(f"worker {number}", f"name{number}")
    stage.failed(worker, name=f"name{number}")
    stage.assign(worker, stage.task(f"name{number}"))
    create_key(f"key {number}", "producer")
    if number:
        Node.objects.create(host="other", pid=number, started_at=stage.now, lease_until=stage.now)


def add_attempt(stage: Stage, worker: Any, task_id: Any, number: int) -> None:
    Attempt.objects.create(
        task_id=task_id,
        number=number,
        worker_id=worker,
        outcome="released",
        assigned_at=stage.now,
        ended_at=stage.now,
    )


def test_queues_are_listed_by_name(admin_client: Client) -> None:
    naming.make_queues(["b", "a", "c"])
    response = admin_client.get(list_url("queue"))
    assert [queue.name for queue in response.context["cl"].result_list] == ["a", "b", "c"]
