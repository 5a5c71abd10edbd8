"""From a submission to pending."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.db import IntegrityError
from rows import NOW, after, assign, done, pending, row, session, submission

from queueapp import lifecycle
from queueapp.models import Queue, Route, Task

pytestmark = pytest.mark.django_db


def submit(*submissions):
    return lifecycle.submit(submissions, None, NOW)


class TestATask:
    def test_is_pending_and_ready_with_the_defaults_of_the_contract(self):
        (task_id,) = pending(data={"a": 1})
        task = row(task_id)
        assert (task.state, task.reason, task.attempt, task.attempts_used) == ("pending", "", 0, 0)
        assert (task.timeout_seconds, task.max_attempts, task.priority) == (300.0, 4, 0)
        assert (task.data, task.result, task.worker_id) == ('{"a":1}', None, None)
        assert (task.created_at, task.available_at, task.waiting_since) == (NOW, NOW, NOW)
        assert (task.delayed_until, task.expires_at, task.spill_after_seconds) == (None, None, None)

    def test_keeps_what_was_submitted(self):
        (task_id,) = pending(
            priority=5,
            timeout=7,
            max_attempts=2,
            retry_on=["error"],
            backoff={"initial": 3},
            expires_in=60,
            spill_after=9,
            tags=["nightly"],
        )
        task = row(task_id)
        assert (task.priority, task.timeout_seconds, task.max_attempts) == (5, 7.0, 2)
        assert (task.retry_on, task.backoff, task.tags) == (["error"], {"initial": 3}, ["nightly"])
        assert (task.expires_at, task.spill_after_seconds) == (after(60), 9.0)

    def test_with_a_delay_is_pending_and_not_ready(self):
        (task_id,) = pending(delay=60)
        assert (row(task_id).available_at, row(task_id).delayed_until) == (after(60), after(60))
        assert not Task.objects.ready().exists()

    def test_whose_available_at_has_passed_is_ready_and_waits_from_now(self):
        (task_id,) = pending(available_at="2029-01-01T00:00:00Z")
        task = row(task_id)
        assert (task.available_at, task.delayed_until) == (datetime(2029, 1, 1, tzinfo=UTC), None)
        assert (task.waiting_since, task.created_at) == (NOW, NOW)

    def test_shares_its_route_with_those_of_equal_name_and_attributes(self):
        same = [*pending(attrs={"cloud": "aws", "account": "1"}), *pending(attrs={"account": "1", "cloud": "aws"})]
        other = pending(attrs={"cloud": "aws"}) + pending(name="collect", attrs={"account": "1", "cloud": "aws"})
        assert len({row(task_id).route_id for task_id in same}) == 1
        assert len({row(task_id).route_id for task_id in same + other}) == 3
        assert Route.objects.count() == 3


class TestTheQueuesDefaults:
    def test_apply_where_the_submission_is_silent(self):
        Queue.objects.create(name="tag", timeout_seconds=11, max_attempts=2, spill_after_seconds=0)
        task = row(pending()[0])
        assert (task.timeout_seconds, task.max_attempts, task.spill_after_seconds) == (11.0, 2, 0.0)

    def test_give_way_to_the_submission(self):
        Queue.objects.create(name="tag", timeout_seconds=11, max_attempts=2, spill_after_seconds=9)
        task = row(pending(timeout=1, max_attempts=3, spill_after=0)[0])
        assert (task.timeout_seconds, task.max_attempts, task.spill_after_seconds) == (1.0, 3, 0.0)

    def test_survive_the_submissions_that_follow(self):
        Queue.objects.create(name="tag", paused=True, timeout_seconds=11)
        pending()
        assert Queue.objects.values_list("paused", "timeout_seconds").get() == (True, 11.0)

    def test_of_a_new_queue_are_made_with_its_first_task(self):
        pending(name="brand.new")
        assert Queue.objects.get().name == "brand.new"


class TestManyAtOnce:
    def test_are_stored_in_their_order_by_id(self):
        receipts = submit(*(submission(data=number) for number in range(1200)))
        ids = [receipt.task_id for receipt in receipts]
        assert ids == sorted(ids)
        assert list(Task.objects.order_by("id").values_list("data", flat=True)) == [str(n) for n in range(1200)]

    def test_of_none_are_no_receipts(self):
        assert submit() == []


@pytest.mark.django_db(transaction=True)
def test_of_many_of_which_one_is_refused_by_the_database_nothing_is_stored():
    good, bad = submission(data=1), submission(name="other")
    bad = bad._replace(priority=None)  # no parser lets this through
    with pytest.raises(IntegrityError):
        submit(good, bad)
    assert not Task.objects.exists()
    assert not Route.objects.exists()
    assert not Queue.objects.exists()


class TestAUniqueKey:
    def test_of_a_live_task_answers_with_that_task(self):
        (first,) = submit(submission(unique_key="k", data=1))
        (second,) = submit(submission(unique_key="k", data=2))
        assert (first.created, second.created) == (True, False)
        assert second.task_id == first.task_id
        assert row(first.task_id).data == "1"

    def test_of_an_assigned_task_answers_with_that_task(self):
        (task_id,) = pending(unique_key="k")
        assign([task_id], session())
        assert pending(unique_key="k") == [task_id]

    def test_twice_in_one_submission_is_one_task(self):
        receipts = submit(submission(unique_key="k"), submission(), submission(unique_key="k"))
        assert [receipt.created for receipt in receipts] == [True, True, False]
        assert receipts[2].task_id == receipts[0].task_id
        assert Task.objects.count() == 2

    def test_is_free_again_once_its_task_is_terminal(self):
        worker = session()
        (first,) = pending(unique_key="k")
        assign([first], worker)
        assert lifecycle.finish([done(worker, first)], NOW) == ["accepted"]
        assert pending(unique_key="k") != [first]

    def test_belongs_to_a_name(self):
        assert pending(unique_key="k") != pending(name="collect", unique_key="k")

    def test_is_not_shared_by_those_that_have_none(self):
        assert len(set(pending() + pending())) == 2
