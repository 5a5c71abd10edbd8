"""Callbacks that an operator has tried again: at once, once, and never beside an attempt that may be under way."""

from __future__ import annotations

import json
from uuid import UUID

import pytest
from rows import NOW, after, pending

from queueapp import callbacks, doorbell, lifecycle
from queueapp.callbacks import Result
from queueapp.letters import letter
from queueapp.models import Delivery

pytestmark = pytest.mark.django_db(transaction=True)

DAY = 86_400


@pytest.fixture
def delivery_id() -> UUID:
    """One that is due at NOW."""
    lifecycle.cancel(pending(callback_url="https://hooks.example/"), NOW)
    return Delivery.objects.get().id


def attempt(at: float, status: int | None = 500) -> Delivery:
    (delivery,) = callbacks.claim(10, {}, after(at))
    result = Result(delivery.id, delivery.attempts, delivery.created_at, status, "" if status == 200 else "no")
    callbacks.settle([result], after(at))
    return Delivery.objects.get()


def test_one_that_waits_for_its_next_attempt_has_it_now(delivery_id):
    for _ in range(6):
        waiting = attempt((Delivery.objects.get().next_attempt_at - NOW).total_seconds())
    at = (waiting.next_attempt_at - NOW).total_seconds() - 40
    assert callbacks.try_again([delivery_id], after(at)) == {delivery_id}
    assert [each.id for each in callbacks.claim(10, {}, after(at))] == [delivery_id]


def test_one_that_was_given_up_sends_what_it_would_have_sent(delivery_id):
    before = letter(callbacks.claim(1, {}, NOW)[0], NOW)
    assert attempt(DAY).state == "failed"
    lifecycle.retry([Delivery.objects.get().task_id], after(DAY + 1))  # what the task is now is another matter
    assert callbacks.try_again([delivery_id], after(DAY + 2)) == {delivery_id}
    (again,) = callbacks.claim(1, {}, after(DAY + 2))
    sent = letter(again, after(DAY + 2))
    assert (sent.delivery_id, sent.body) == (before.delivery_id, before.body)
    assert json.loads(sent.body)["state"] == "cancelled"


def test_one_whose_day_is_over_has_this_one_attempt(delivery_id):
    attempt(DAY)
    callbacks.try_again([delivery_id], after(2 * DAY))
    given_up = attempt(2 * DAY)
    assert (given_up.state, given_up.attempts, given_up.next_attempt_at) == ("failed", 2, None)
    callbacks.try_again([delivery_id], after(3 * DAY))
    delivered = attempt(3 * DAY, 200)
    assert (delivered.state, delivered.ended_as) == ("delivered", None)


def test_one_of_which_an_attempt_may_be_under_way_is_left_alone(delivery_id):
    (claimed,) = callbacks.claim(1, {}, NOW)
    assert callbacks.try_again([delivery_id], after(1)) == set()
    assert Delivery.objects.get().next_attempt_at == claimed.next_attempt_at


def test_one_that_is_delivered_or_has_nothing_left_to_send_is_left_alone(delivery_id):
    delivered = attempt(0, 200)
    assert callbacks.try_again([delivery_id], after(1)) == set()
    Delivery.objects.filter(pk=delivered.pk).update(state="failed")  # given up by a version that kept nothing
    assert callbacks.try_again([delivery_id], after(1)) == set()


def test_couriers_hear_of_it(delivery_id):
    attempt(DAY)
    heard: list[bool] = []
    unlisten = doorbell.listen(lambda ring: heard.append(ring.callbacks))
    try:
        callbacks.try_again([delivery_id], after(DAY + 1))
        callbacks.try_again([delivery_id], after(DAY + 2))
    finally:
        unlisten()
    assert heard == [True]
