"""Callbacks that are owed: claimed by one at a time, tried for a day, and sent as a signed letter."""

from __future__ import annotations

import json
from datetime import timedelta
from uuid import UUID

import pytest
from django.conf import settings as project_settings
from plans import plans_of
from rows import NOW, after, assigned, done, pending, session
from standardwebhooks import Webhook

from queueapp import callbacks, database, lifecycle
from queueapp.auth import create_key
from queueapp.callbacks import A_HOST, Result
from queueapp.domain.webhooks import secret_text
from queueapp.letters import letter, signing_secrets
from queueapp.models import Delivery, new_id

pytestmark = pytest.mark.django_db

DAY = 86_400


def owe(count: int = 1, host: str = "hooks.example") -> list[UUID]:
    """Deliveries that are due at NOW, in their order."""
    tasks = pending(count, callback_url=f"https://{host}/")
    lifecycle.cancel(tasks, NOW)
    return list(Delivery.objects.filter(task__in=tasks).order_by("id").values_list("id", flat=True))


def claim(room: int = 100, busy: dict[str, int] | None = None, at: float = 0) -> list[Delivery]:
    return callbacks.claim(room, busy or {}, after(at))


def ids(deliveries: list[Delivery]) -> set[UUID]:
    return {delivery.id for delivery in deliveries}


def result_of(delivery: Delivery, status: int | None = 200, error: str = "") -> Result:
    return Result(delivery.id, delivery.attempts, delivery.created_at, status, error)


class TestAClaim:
    def test_is_of_what_is_due_and_for_one_alone(self):
        deliveries = owe(3)
        claimed = claim()
        assert ids(claimed) == set(deliveries)
        assert {delivery.attempts for delivery in claimed} == {1}
        assert claim() == []

    def test_is_a_lease_after_which_another_may_have_it(self):
        (delivery,) = owe()
        claim()
        lease = 3 * project_settings.WORKQUEUE.callback_timeout_seconds
        assert claim(at=lease - 1) == []
        (again,) = claim(at=lease)
        assert (again.id, again.attempts) == (delivery, 2)

    def test_takes_the_oldest_first_and_no_more_than_there_is_room_for(self):
        old = owe(2)
        Delivery.objects.filter(pk__in=old).update(next_attempt_at=after(-5))
        owe(2)
        assert ids(claim(room=2)) == set(old)
        assert claim(room=0) == []

    def test_takes_no_more_of_one_host_than_may_be_under_way_to_it(self):
        owe(A_HOST + 5, host="hangs.example")
        (other,) = owe(host="other.example")
        claimed = claim(room=100)
        assert sorted(delivery.host for delivery in claimed) == ["hangs.example"] * A_HOST + ["other.example"]
        assert other in ids(claimed)

    def test_counts_what_is_under_way_to_a_host_already(self):
        owe(A_HOST, host="busy.example")
        assert len(claim(busy={"busy.example": A_HOST - 2})) == 2
        assert claim(busy={"busy.example": A_HOST}) == []

    def test_finds_the_others_behind_any_number_for_hosts_that_are_full(self):
        hanging = [f"hangs{n}.example" for n in range(5)]
        for host in hanging:
            owe(A_HOST * 3, host=host)
        Delivery.objects.update(next_attempt_at=after(-60))
        (other,) = owe(host="other.example")
        assert ids(claim(room=3, busy=dict.fromkeys(hanging, A_HOST))) == {other}
        (another,) = owe(host="another.example")
        assert another in ids(claim(room=20, busy=dict.fromkeys(hanging, A_HOST - 1)))

    @pytest.mark.only_on("sqlite", reason="plans are read as SQLite writes them")
    def test_steps_over_no_delivery_that_is_not_due_nor_over_more_than_a_few_of_one_host(self):
        owe(50)
        plan, *_ = plans_of(claim, "RECURSIVE")
        assert "INDEX delivery_due_by_host (host>?)" in plan, plan
        assert "INDEX delivery_due_by_host (host=? AND next_attempt_at<?)" in plan, plan
        assert "SCAN due" not in plan, plan


class TestAResult:
    def test_of_success_ends_it(self):
        owe()
        (delivery,) = claim()
        callbacks.settle([result_of(delivery, 204)], after(1))
        delivery.refresh_from_db()
        assert (delivery.state, delivery.last_status, delivery.last_error) == ("delivered", 204, "")
        assert (delivery.ended_at, delivery.next_attempt_at, delivery.ended_as) == (after(1), None, None)

    def test_of_failure_is_tried_again_after_a_pause_that_grows_and_is_jittered(self):
        owe(A_HOST)
        pauses = []
        at = 0.0
        for _ in range(12):
            claimed = claim(at=at)
            assert len(claimed) == A_HOST
            callbacks.settle([result_of(delivery, 500, "500: no") for delivery in claimed], after(at))
            nexts = list(Delivery.objects.values_list("next_attempt_at", flat=True))
            assert len(set(nexts)) > 1
            pauses.append(max((next_at - after(at)).total_seconds() for next_at in nexts))
            at += pauses[-1]
        assert all(2.5 * 2**n <= min(pause, 3600) for n, pause in enumerate(pauses[:9]))
        assert max(pauses) <= 3600
        delivery = Delivery.objects.first()
        assert (delivery.state, delivery.last_status, delivery.last_error) == ("pending", 500, "500: no")

    def test_of_failure_gives_up_after_a_day_and_a_last_try(self):
        owe()
        (delivery,) = claim(at=DAY - 1)
        callbacks.settle([result_of(delivery, None, "no answer")], after(DAY - 1))
        (last,) = claim(at=DAY)
        callbacks.settle([result_of(last, None, "no answer")], after(DAY))
        last.refresh_from_db()
        assert (last.state, last.ended_at, last.next_attempt_at) == ("failed", after(DAY), None)
        assert claim(at=10 * DAY) == []

    def test_of_410_stops_at_once(self):
        owe()
        (delivery,) = claim()
        callbacks.settle([result_of(delivery, 410, "410 Gone")], after(1))
        delivery.refresh_from_db()
        assert (delivery.state, delivery.last_status) == ("failed", 410)

    def test_of_an_attempt_whose_lease_was_over_counts_if_it_is_a_success(self):
        owe()
        (late,) = claim()
        (current,) = claim(at=100)
        callbacks.settle([result_of(late, 500, "500: no")], after(101))
        current.refresh_from_db()
        assert (current.state, current.last_status) == ("pending", None)
        callbacks.settle([result_of(late)], after(102))
        callbacks.settle([result_of(current, 500, "500: no")], after(103))
        current.refresh_from_db()
        assert (current.state, current.last_status) == ("delivered", 200)

    def test_of_an_attempt_that_was_broken_off_lets_others_begin_at_once(self):
        owe(2)
        mine, others = claim()
        claim(at=100)
        callbacks.give_back([(mine.id, mine.attempts + 1), (others.id, others.attempts)], after(101))
        assert ids(claim(at=101)) == {mine.id}

    def test_about_one_that_is_no_more_changes_nothing(self):
        callbacks.settle([Result(new_id(), 1, NOW, 200)], NOW)


class TestALetter:
    def test_is_the_task_signed_and_the_same_at_each_attempt_but_for_the_time(self):
        owe()
        (first,) = claim()
        (second,) = claim(at=100)
        now = database.now()
        letters = [letter(first, now), letter(second, now + timedelta(seconds=60))]
        assert letters[0].body == letters[1].body
        for each in letters:
            Webhook(secret_text(signing_secrets()[0])).verify(each.body, each.headers)
            assert each.headers["webhook-id"] == str(first.id)
        times = [int(each.headers["webhook-timestamp"]) for each in letters]
        assert times[1] - times[0] == 60

    def test_reads_as_the_task_does_over_rest(self, client):
        _, key = create_key("operator", "operator")
        worker = session()
        (task_id,) = assigned(worker, callback_url="https://hooks.example/")
        lifecycle.finish([done(worker, task_id, payload='{"n":1}')], NOW)
        (delivery,) = claim()
        answer = client.get(f"/api/v1/tasks/{task_id}", headers={"authorization": f"Bearer {key}"})
        assert letter(delivery, NOW).body == answer.content
        assert json.loads(answer.content)["result"] == {"n": 1}
