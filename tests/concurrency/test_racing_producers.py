"""Producers and operators against each other: submissions of one unique key, retries."""

from __future__ import annotations

from functools import partial

import pytest

from queueapp import database, lifecycle
from queueapp.lifecycle import storing
from queueapp.models import Task
from tests.concurrency.interleaving import BEFORE_COMMIT, after, in_a_transaction, interleave
from tests.integration import rows
from tests.integration.rows import NOW, attempts, done, row, submission

pytestmark = pytest.mark.django_db(transaction=True)

LATER = rows.after(10)


def submit(*keys: str):
    return lifecycle.submit([submission(unique_key=key) for key in keys], None, NOW)


class TestOneUniqueKey:
    @pytest.fixture(autouse=True)
    def queue_and_route(self):
        """Who makes their rows holds up whoever needs them too; here the key alone may do so."""
        Task.objects.filter(pk__in=rows.pending()).delete()

    def test_of_two_submissions_one_makes_the_task_and_both_receipts_name_it(self):
        """Guards: the constraint `task_one_live_per_unique_key`; `submit` reads again after it was refused."""
        [first], [second] = interleave(partial(in_a_transaction, submit, "k"), BEFORE_COMMIT, lambda: submit("k"))
        assert first.task_id == second.task_id == Task.objects.get().id
        assert (first.created, second.created) == (True, False)

    def test_two_bulk_submissions_of_the_same_keys_in_opposite_orders_both_succeed(self, monkeypatch):
        """Guard: `_insert` takes the keys in their order. (Otherwise they deadlock, and `database.retried` begins
        again what PostgreSQL has ended.)"""
        monkeypatch.setattr(storing, "BATCH", 1)  # one statement a task, between which one can stop
        monkeypatch.setattr(database, "RETRIES", 1)
        first, second = interleave(
            lambda: submit("a", "b"), after("INSERT INTO queueapp_task"), lambda: submit("b", "a")
        )
        assert {receipt.task_id for receipt in first} == {receipt.task_id for receipt in second}
        assert sorted([first[0].created, second[0].created]) == [False, True]
        assert Task.objects.count() == 2

    def test_a_retry_and_a_submission_of_the_same_keys_do_not_wait_for_each_other(self, monkeypatch):
        """Guard: `retry` takes the keys in their order, as `submit` does."""
        monkeypatch.setattr(database, "RETRIES", 1)
        old = [receipt.task_id for receipt in submit("b", "a")]
        lifecycle.cancel(old, NOW)
        retried, receipts = interleave(
            lambda: lifecycle.retry(old, NOW),
            after("UPDATE queueapp_task"),
            lambda: [*submit("a", "b")],
        )
        assert retried == set(old)
        assert [receipt.task_id for receipt in receipts] == old[::-1]

    def test_a_submission_that_meets_the_retry_of_its_key_names_the_retried_task(self):
        """Guards: the constraint; `submit` reads again after it was refused."""
        [old] = submit("k")
        lifecycle.cancel([old.task_id], NOW)
        retried, [receipt] = interleave(
            lambda: lifecycle.retry([old.task_id], NOW), BEFORE_COMMIT, lambda: submit("k")
        )
        assert retried == {old.task_id}
        assert receipt == lifecycle.Receipt(old.task_id, created=False)

    def test_a_retry_that_meets_a_submission_of_its_key_leaves_the_task_as_it_is(self):
        """Guards: the constraint; `_make_pending_by_key` loses its savepoint only, and reads the keys again."""
        old, another = [receipt.task_id for receipt in submit("k", "l")]
        [plain] = rows.pending()
        lifecycle.cancel([old, another, plain], NOW)
        [receipt], retried = interleave(
            partial(in_a_transaction, submit, "k"),
            BEFORE_COMMIT,
            lambda: lifecycle.retry([old, another, plain], NOW),
        )
        assert retried == {another, plain}
        assert (row(old).state, row(receipt.task_id).state) == ("cancelled", "pending")


class TestRetries:
    @pytest.fixture
    def task_id(self):
        worker = rows.session()
        [task_id] = rows.assigned(worker)
        lifecycle.finish([done(worker, task_id)], NOW)
        return task_id

    def test_two_retries_make_one_pending_task_with_one_history(self, task_id):
        """Guards, each enough: `retry` locks (FOR UPDATE), so that `terminal` is looked at again; `terminal`
        in the WHERE of `_make_pending`."""
        first, second = interleave(
            lambda: lifecycle.retry([task_id], NOW), BEFORE_COMMIT, lambda: lifecycle.retry([task_id], LATER)
        )
        assert (first, second) == ({task_id}, set())
        assert (row(task_id).state, row(task_id).waiting_since) == ("pending", NOW)
        assert attempts(task_id) == [(1, "done")]

    def test_of_two_cancels_one_cancels(self, task_id, heard):
        """Guard: `cancel` locks (FOR UPDATE), so that `live` is looked at again: one end is told once."""
        lifecycle.retry([task_id], NOW)
        first, second = interleave(
            lambda: lifecycle.cancel([task_id], NOW), BEFORE_COMMIT, lambda: lifecycle.cancel([task_id], LATER)
        )
        assert (first, second) == ({task_id}, set())
        assert row(task_id).finished_at == NOW
        assert [ring.ended for ring in heard if ring.ended] == [{task_id}]
