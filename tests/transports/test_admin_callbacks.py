"""Callbacks in the admin: owed, delivered and given up, and tried again by those who may steer tasks."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from admin_rows import HOSTILE, Stage, act, list_url, page_url, shown, staff
from django.test import Client

from queueapp import callbacks, lifecycle
from queueapp.callbacks import Result
from queueapp.domain.submission import Submission
from queueapp.models import Delivery

pytestmark = pytest.mark.django_db(transaction=True)

DAY = timedelta(days=1)


def owed(stage: Stage, host: str = "hooks.example") -> Delivery:
    submission = Submission("tag", {}, "1", callback_url=f"https://{host}/x")
    task_id = lifecycle.submit([submission], None, stage.now)[0].task_id
    lifecycle.cancel([task_id], stage.now)
    return Delivery.objects.get(task=task_id)


def attempted(stage: Stage, status: int, error: str = "", after: timedelta = timedelta(), **host: Any) -> Delivery:
    delivery = owed(stage, **host)
    callbacks.claim(100, {}, stage.now + after)
    callbacks.settle([Result(delivery.pk, 1, delivery.created_at, status, error)], stage.now + after)
    delivery.refresh_from_db()
    return delivery


def found(client: Client, query: str) -> set[Any]:
    response = client.get(f"{list_url('delivery')}?{query}")
    assert response.status_code == 200
    return {row.pk for row in response.context["cl"].result_list}


class TestTheList:
    def test_tells_owed_delivered_and_given_up_apart(self, admin_client: Client, stage: Stage) -> None:
        given_up = attempted(stage, 500, "500: no", DAY)
        delivered = attempted(stage, 204)
        pending = owed(stage)
        assert found(admin_client, "state=given+up") == {given_up.pk}
        assert found(admin_client, "state=delivered") == {delivered.pk}
        assert found(admin_client, "state=owed") == {pending.pk}
        assert found(admin_client, "") == {given_up.pk, delivered.pk, pending.pk}

    def test_shows_the_last_answer_as_text(self, admin_client: Client, stage: Stage) -> None:
        delivery = attempted(stage, 500, f"500: {HOSTILE}")
        for page in (list_url("delivery"), page_url("delivery", delivery.pk)):
            text = shown(admin_client, page)
            assert "500: &lt;script&gt;" in text
            assert HOSTILE not in text

    def test_finds_those_of_a_host(self, admin_client: Client, stage: Stage) -> None:
        one, _ = owed(stage, "one.example"), owed(stage, "two.example")
        assert found(admin_client, "q=ONE.example") == {one.pk}


class TestTryingAgain:
    def test_makes_an_attempt_now_of_one_that_was_given_up(self, admin_client: Client, stage: Stage) -> None:
        delivery = attempted(stage, 500, "500: no", DAY)
        assert act(admin_client, "delivery", "try_again", delivery.pk) == ["1 callback tried again."]
        delivery.refresh_from_db()
        assert (delivery.state, delivery.ended_at) == ("pending", None)

    def test_is_a_button_on_its_page(self, admin_client: Client, stage: Stage) -> None:
        page = shown(admin_client, page_url("delivery", attempted(stage, 500, "500: no", DAY).pk))
        assert ">Try again<" in page

    def test_leaves_the_delivered_alone(self, admin_client: Client, stage: Stage) -> None:
        delivery = attempted(stage, 204)
        assert act(admin_client, "delivery", "try_again", delivery.pk)[0] == "0 callbacks tried again."

    def test_is_for_those_who_may_steer_tasks(self, stage: Stage) -> None:
        delivery = attempted(stage, 500, "500: no", DAY)
        act(staff("view"), "delivery", "try_again", delivery.pk)
        delivery.refresh_from_db()
        assert delivery.state == "failed"
        operator = staff("view", "change", models=["task", "delivery"])
        assert act(operator, "delivery", "try_again", delivery.pk) == ["1 callback tried again."]


@pytest.mark.only_on("sqlite", reason="plans are read as SQLite writes them")
@pytest.mark.parametrize(
    ("rows", "index"),
    [
        (Delivery.objects.given_up(), "delivery_given_up"),
        (Delivery.objects.filter(host="a.example"), "delivery_of_host"),
        (Delivery.objects.pending(), "delivery_owed"),
    ],
    ids=["given up", "of a host", "owed"],
)
def test_the_rows_of_a_list_come_from_an_index(rows: Any, index: str) -> None:
    assert f"INDEX {index}" in rows.order_by("-id")[:50].explain()
