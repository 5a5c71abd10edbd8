"""Workers in the admin: what they have done, and how they are drained, disconnected and resumed."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from typing import Any
from uuid import UUID

import pytest
from admin_rows import HOSTILE, Stage, act, list_url, page_url, shown, staff
from django.contrib.admin.models import LogEntry
from django.test import Client

from queueapp import lifecycle, sessions
from queueapp.domain.minutes import minute_of, of_last_minute
from queueapp.lifecycle import Report, activity
from queueapp.models import Attempt, AuditEntry, Node, Task, WorkerSession

pytestmark = pytest.mark.django_db(transaction=True)
"""Verbs are retried outside of a transaction, as in a request."""

LIST = list_url("workersession")


def ask(client: Client, action: str, *workers: UUID, **fields: Any) -> Any:
    """What comes when the action is chosen for these workers."""
    form = {"action": action, "_selected_action": [str(worker) for worker in workers], "index": 0, **fields}
    return client.post(LIST, form)


def consequences(client: Client, action: str, *workers: UUID) -> list[str]:
    return ask(client, action, *workers).context["lines"]


def confirm(client: Client, action: str, *workers: UUID, **fields: Any) -> list[str]:
    return act(client, "workersession", action, *workers, confirmed="1", **fields)


def state(worker: UUID) -> str:
    return WorkerSession.objects.values_list("state", flat=True).get(pk=worker)


class TestBeforeADrain:
    def test_nothing_is_done(self, admin_client: Client, stage: Stage) -> None:
        worker = stage.worker()
        for action in ("drain", "disconnect"):
            page = ask(admin_client, action, worker)
            assert page.status_code == 200
            assert 'name="confirmed"' in page.content.decode()
        assert state(worker) == "online"

    def test_what_waits_for_nobody_else_is_counted(self, admin_client: Client, stage: Stage) -> None:
        worker = stage.worker(cloud="aws")
        stage.worker(cloud="gcp")
        stage.tasks(14, cloud="aws")
        stage.tasks(3, cloud="gcp")
        stage.tasks(2, cloud="azure")
        lines = consequences(admin_client, "drain", worker)
        assert lines == ["14 waiting tasks have no other worker.", "It holds nothing."]

    def test_what_would_be_left_with_few_is_named(self, admin_client: Client, stage: Stage) -> None:
        first, second, third = (stage.worker(cloud="aws") for _ in range(3))
        stage.tasks(20, cloud="aws")
        assert consequences(admin_client, "drain", first, second)[0] == (
            "20 waiting tasks “tag” (cloud=aws) would be left with 1 worker."
        )
        assert consequences(admin_client, "drain", third)[0] == (
            "20 waiting tasks “tag” (cloud=aws) would be left with 2 workers."
        )

    def test_less_specific_workers_count_as_left(self, admin_client: Client, stage: Stage) -> None:
        narrow = stage.worker(cloud="aws", account="1")
        stage.worker(cloud="aws")
        stage.worker()
        stage.task(cloud="aws", account="1")
        assert consequences(admin_client, "drain", narrow)[0] == (
            "1 waiting task “tag” (account=1 cloud=aws) would be left with 2 workers, 1 of them most specific."
        )

    def test_several_are_judged_together(self, admin_client: Client, stage: Stage) -> None:
        workers = [stage.worker(cloud="aws") for _ in range(2)]
        stage.tasks(14, cloud="aws")
        assert "no other worker" not in consequences(admin_client, "drain", workers[0])[0]
        assert consequences(admin_client, "drain", *workers)[0] == "14 waiting tasks have no other worker."

    def test_what_is_held_may_be_finished(self, admin_client: Client, stage: Stage) -> None:
        worker = stage.worker()
        stage.worker()
        stage.assign(worker, *stage.tasks(5))
        assert "It holds 5 tasks, which may be finished." in consequences(admin_client, "drain", worker)

    def test_a_name_that_nobody_else_offers_is_said_though_nothing_waits(
        self, admin_client: Client, stage: Stage
    ) -> None:
        worker = stage.worker("w7", "tag", "collect")
        stage.worker("w8", "tag")
        assert consequences(admin_client, "drain", worker)[0] == "Nobody else who is online offers collect."

    def test_what_makes_no_difference_is_said_to_make_none(self, admin_client: Client, stage: Stage) -> None:
        worker = stage.worker(cloud="aws")
        stage.worker(cloud="gcp")
        stage.task(cloud="gcp")
        assert "Nothing that waits loses a worker." in consequences(admin_client, "drain", worker)

    def test_hostile_names_are_shown_as_text(self, admin_client: Client, stage: Stage) -> None:
        worker = stage.worker(f"w {HOSTILE}", cloud=HOSTILE)
        stage.task(cloud=HOSTILE)
        page = ask(admin_client, "drain", worker).content.decode()
        assert HOSTILE not in page
        assert page.count("&lt;script&gt;") >= 2


class TestBeforeADisconnect:
    def test_what_is_held_is_said_to_go_to_others(self, admin_client: Client, stage: Stage) -> None:
        worker = stage.worker()
        stage.worker(cloud="aws")
        stage.assign(worker, *stage.tasks(2, cloud="gcp"), *stage.tasks(3, cloud="aws"))
        assert consequences(admin_client, "disconnect", worker) == [
            "2 of the tasks that it holds would find no other worker.",
            "It holds 5 tasks: released, uncounted, and given to others.",
            "Nothing that waits loses a worker.",
        ]

    def test_so_is_what_one_holds_that_drains_already(self, admin_client: Client, stage: Stage) -> None:
        worker = stage.worker()
        stage.assign(worker, stage.task())
        sessions.drain([worker])
        lines = consequences(admin_client, "disconnect", worker)
        assert lines[0] == "1 of the tasks that it holds would find no other worker."


class TestOnceConfirmed:
    def test_workers_are_drained(self, admin_client: Client, stage: Stage) -> None:
        worker = stage.worker()
        stage.assign(worker, task := stage.task())
        assert confirm(admin_client, "drain", worker) == ["1 worker session told to drain."]
        assert state(worker) == "draining"
        assert Task.objects.get(pk=task).state == "assigned"

    def test_workers_are_disconnected_and_their_tasks_released(self, admin_client: Client, stage: Stage) -> None:
        worker = stage.worker()
        stage.assign(worker, task := stage.task())
        assert confirm(admin_client, "disconnect", worker) == ["1 worker session disconnected."]
        assert WorkerSession.objects.values_list("state", "close_code").get(pk=worker) == ("gone", 4409)
        assert Task.objects.get(pk=task).state == "pending"

    def test_the_form_of_the_question_does_it(self, admin_client: Client, stage: Stage) -> None:
        """As a browser would send it: each of its hidden fields."""
        workers = [stage.worker(), stage.worker()]
        context = ask(admin_client, "drain", *workers).context
        form = dict(context["handed_on"]) | {context["keys_name"]: context["keys"], context["confirmed"]: "1"}
        assert admin_client.post(LIST, form).status_code == 302
        assert [state(worker) for worker in workers] == ["draining"] * 2

    def test_who_did_it_is_remembered(self, admin_client: Client, stage: Stage) -> None:
        worker = stage.worker()
        ask(admin_client, "drain", worker)
        assert not LogEntry.objects.exists()
        confirm(admin_client, "drain", worker)
        entry = LogEntry.objects.get()
        assert (entry.object_id, entry.change_message) == (str(worker), "Told to drain")
        WorkerSession.objects.filter(pk=worker).update(v1=False)
        act(admin_client, "workersession", "resume", worker)
        audited = AuditEntry.objects.order_by("id").values_list("who", "action", "kind", "count")
        assert list(audited) == [("admin", "drain", "worker", 1), ("admin", "resume", "worker", 1)]

    def test_one_whose_page_it_came_from_is_shown_again(self, admin_client: Client, stage: Stage) -> None:
        worker = stage.worker()
        question = ask(admin_client, "drain", worker, _from_page="1")
        assert question.context["back"] == page_url("workersession", worker)
        response = ask(admin_client, "drain", worker, _from_page="1", confirmed="1")
        assert response["Location"] == page_url("workersession", worker)

    def test_those_that_are_gone_are_left_alone(self, admin_client: Client, stage: Stage) -> None:
        worker = stage.worker()
        stage.close([worker])
        told = act(admin_client, "workersession", "disconnect", worker)
        assert told[0] == "0 worker sessions disconnected."


class TestResuming:
    def test_is_for_who_does_not_know_of_the_drain(self, admin_client: Client, stage: Stage) -> None:
        plain, told = stage.worker(), stage.worker()
        WorkerSession.objects.filter(pk=plain).update(v1=False)
        WorkerSession.objects.filter(pk=told).update(v1=True)
        sessions.drain([plain, told])
        assert "it can be resumed" in shown(admin_client, page_url("workersession", plain))
        assert "no message takes that back" in shown(admin_client, page_url("workersession", told))
        messages = act(admin_client, "workersession", "resume", plain, told)
        assert messages[0] == "1 worker session resumed."
        assert (state(plain), state(told)) == ("online", "draining")

    def test_is_not_for_who_leaves(self, admin_client: Client, stage: Stage) -> None:
        worker = stage.worker()
        WorkerSession.objects.filter(pk=worker).update(v1=False)
        sessions.drain([worker], leaving=True)
        assert "it leaves by its own word" in shown(admin_client, page_url("workersession", worker))
        assert act(admin_client, "workersession", "resume", worker)[0] == "0 worker sessions resumed."

    @pytest.mark.parametrize("action", ["drain", "disconnect", "resume"])
    def test_and_all_else_takes_the_permission(self, stage: Stage, action: str) -> None:
        online, draining = stage.worker(), stage.worker()
        WorkerSession.objects.filter(pk=draining).update(v1=False)
        sessions.drain([draining])
        viewer = staff("view")
        confirm(viewer, action, online, draining)
        assert "What would happen" not in ask(viewer, action, online, draining).content.decode()
        assert (state(online), state(draining)) == ("online", "draining")


class TestWhatOneHasDone:
    def test_is_counted_in_the_list_and_on_its_page(self, admin_client: Client, stage: Stage) -> None:
        worker = stage.worker("w7")
        for _ in range(3):
            stage.succeeded(worker)
        stage.failed(worker)
        lost = stage.task()
        stage.assign(worker, lost)
        activity.write_noted()
        row = next(iter(admin_client.get(LIST).context["cl"].result_list))
        assert (row.done, row.errors) == (3, 1)
        stage.close([worker])
        page = unescape(shown(admin_client, page_url("workersession", worker)))
        assert "1 error, 1 lost" in page
        assert f"q=worker%3A{worker}" in page

    def test_is_counted_to_a_bound(
        self, admin_client: Client, stage: Stage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        worker = stage.worker()
        for _ in range(4):
            stage.failed(worker)
        monkeypatch.setattr("queueapp.admin.workers.ATTEMPTS_COUNTED", 3)
        page = shown(admin_client, page_url("workersession", worker))
        assert "3 error, of the 3 that were looked at" in page

    def test_is_told_a_minute(self, admin_client: Client, stage: Stage) -> None:
        worker = stage.worker()
        tasks = stage.tasks(2)
        stage.assign(worker, *tasks)
        lifecycle.finish([Report(worker, task, done=True) for task in tasks], stage.now - timedelta(minutes=1))
        activity.write_noted()
        row = WorkerSession.objects.get(pk=worker)
        assert of_last_minute(row.counted_minute, row.ended_in_minute, row.ended_in_previous, stage.now) == 2

    def test_of_long_ago_is_no_rate(self) -> None:
        assert minute_of(Stage.started().now) > 0
        now = Stage.started().now
        counted = minute_of(now) - 2, 5, 7
        assert of_last_minute(*counted, now) == 0
        assert of_last_minute(minute_of(now) - 1, 5, 7, now) == 5
        assert of_last_minute(minute_of(now), 5, 7, now) == 7

    def test_does_not_say_more_than_the_rows_do_of_its_heartbeat(self, admin_client: Client, stage: Stage) -> None:
        worker = stage.worker()
        said = r'its process <span data-value="heartbeat" data-as="age">\d+ s</span> ago'
        assert re.search(said, shown(admin_client, page_url("workersession", worker)))
        Node.objects.update(stopped_at=stage.now)
        assert "its process has stopped" in shown(admin_client, page_url("workersession", worker))
        assert not Attempt.objects.exists()
