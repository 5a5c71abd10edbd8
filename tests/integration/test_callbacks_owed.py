"""A callback is owed in the transaction of its task's end, once for each end, and shows the task as it was."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from pytest_django import DjangoCaptureOnCommitCallbacks
from rows import NOW, after, assign, assigned, done, error, pending, row, session

from queueapp import doorbell, lifecycle, maintenance
from queueapp.access import Watch
from queueapp.api.documents import task_document
from queueapp.callbacks import as_ended
from queueapp.domain.states import Outcome
from queueapp.lifecycle import activity
from queueapp.models import Delivery, Task, new_id
from tests.asking import asking

pytestmark = pytest.mark.django_db

URL = "https://hooks.example/tasks"


def owed(task_id: UUID) -> list[Delivery]:
    return list(Delivery.objects.filter(task=task_id).order_by("id"))


def finished() -> UUID:
    worker = session()
    (task_id,) = assigned(worker, callback_url=URL)
    assert lifecycle.finish([done(worker, task_id, payload='{"n":1}')], NOW) == ["accepted"]
    return task_id


def finished_at_the_second_attempt() -> UUID:
    worker = session()
    (task_id,) = assigned(worker, callback_url=URL)
    lifecycle.release([(worker.id, task_id)], NOW)
    assign([task_id], worker)
    assert lifecycle.finish([done(worker, task_id)], NOW) == ["accepted"]
    return task_id


def failed() -> UUID:
    worker = session()
    (task_id,) = assigned(worker, callback_url=URL)
    assert lifecycle.finish([error(worker, task_id)], NOW) == ["accepted"]
    return task_id


def lost_too_often() -> UUID:
    worker = session()
    (task_id,) = assigned(worker, callback_url=URL, max_attempts=1)
    lifecycle.rescue({worker.id: Outcome.LOST}, NOW)
    return task_id


def timed_out_too_often() -> UUID:
    (task_id,) = assigned(session(), callback_url=URL, max_attempts=1, timeout=10)
    lifecycle.time_out(after(11))
    return task_id


def cancelled_while_pending() -> UUID:
    (task_id,) = pending(callback_url=URL)
    lifecycle.cancel([task_id], NOW)
    return task_id


def cancelled_while_assigned() -> UUID:
    (task_id,) = assigned(session(), callback_url=URL)
    lifecycle.cancel([task_id], NOW)
    return task_id


def expired() -> UUID:
    (task_id,) = pending(callback_url=URL, expires_in=10)
    lifecycle.expire(after(11))
    return task_id


EVERY_END = [
    finished,
    finished_at_the_second_attempt,
    failed,
    lost_too_often,
    timed_out_too_often,
    cancelled_while_pending,
    cancelled_while_assigned,
    expired,
]


def named(ends: list[Callable[[], UUID]]) -> Any:
    return pytest.mark.parametrize("end", ends, ids=[end.__name__ for end in ends])


class TestATaskThatEnds:
    @named(EVERY_END)
    def test_owes_one_callback_which_shows_the_task_as_it_reads(self, end: Callable[[], UUID]):
        task_id = end()
        (delivery,) = owed(task_id)
        assert (delivery.state, delivery.attempts, delivery.host) == ("pending", 0, "hooks.example")
        assert row(task_id).finished_at is not None
        task = Task.objects.select_related("route").get(pk=task_id)
        assert task_document(as_ended(delivery)) == task_document(task)

    @named(EVERY_END)
    def test_owes_it_in_the_same_transaction(self, end: Callable[[], UUID]):
        """Whoever dies before the commit has neither ended the task nor lost the callback."""
        with transaction.atomic():
            assert owed(end())
            transaction.set_rollback(True)  # the process dies here
        assert not Delivery.objects.exists()
        assert not Task.objects.filter(finished_at__isnull=False).exists()

    @named(EVERY_END)
    def test_rings_for_it(
        self, end: Callable[[], UUID], django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
    ):
        with doorbell.held() as rings, django_capture_on_commit_callbacks(execute=True):
            end()
        assert doorbell.merged(rings).callbacks

    def test_owes_nothing_without_a_url(self, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks):
        worker = session()
        succeeded, broken = assigned(worker, 2)
        with doorbell.held() as rings, django_capture_on_commit_callbacks(execute=True):
            lifecycle.finish([done(worker, succeeded), error(worker, broken)], NOW)
            lifecycle.cancel(pending(), NOW)
            pending(expires_in=1)
            lifecycle.expire(after(2))
        assert not Delivery.objects.exists()
        news = doorbell.merged(rings)
        assert (len(news.ended), news.callbacks) == (4, False)

    def test_owes_nothing_while_it_is_tried_again(self):
        worker = session()
        (task_id,) = assigned(worker, callback_url=URL, retry_on=["error", "lost"])
        lifecycle.finish([error(worker, task_id)], NOW)
        lifecycle.promote(after(10))
        assign([task_id], worker)
        lifecycle.rescue({worker.id: Outcome.LOST}, NOW)
        assert (row(task_id).state, owed(task_id)) == ("pending", [])

    def test_owes_nothing_for_a_stale_result(self):
        worker, other = session(), session()
        (task_id,) = assigned(worker, callback_url=URL)
        assert lifecycle.finish([done(other, task_id)], NOW) == ["stale"]
        assert owed(task_id) == []

    def test_owes_one_each_in_a_batch_of_which_some_have_a_url(self):
        worker = session()
        with_url, without = assigned(worker, 3, callback_url=URL), assigned(worker, 3)
        lifecycle.finish([done(worker, task_id) for task_id in with_url + without], NOW)
        assert sorted(Delivery.objects.values_list("task", flat=True)) == sorted(with_url)


class TestOneThatIsRetried:
    def test_owes_another_at_its_next_end(self):
        task_id = failed()
        lifecycle.retry([task_id], after(1))
        assert len(owed(task_id)) == 1
        lifecycle.cancel([task_id], after(2))
        first, second = (as_ended(delivery).state for delivery in owed(task_id))
        assert (first, second) == ("failed", "cancelled")

    @named(EVERY_END)
    def test_still_reads_as_it_ended_in_the_callback_that_was_owed_before(self, end: Callable[[], UUID]):
        task_id = end()
        before = task_document(Task.objects.select_related("route").get(pk=task_id))
        lifecycle.retry([task_id], after(1000))
        worker = session()
        assign([task_id], worker, after(1001))
        lifecycle.prolong([lifecycle.SignOfLife(worker.id, task_id, progress=0.5, message="half")], after(1002))
        (delivery,) = owed(task_id)
        assert task_document(as_ended(delivery)) == before


class TestTheHotPath:
    def test_runs_no_statement_more_for_tasks_without_a_callback(self):
        """Of those that a callback costs none is there."""
        worker = session()
        statements = []
        for members in ({}, {"callback_url": URL}):
            reports = [done(worker, task_id) for task_id in assigned(worker, 3, **members)]
            with asking() as asked:
                lifecycle.finish(reports, NOW)
            statements.append(asked)
        plain, with_callback = statements
        assert not any("queueapp_delivery" in sql for sql in plain)
        assert len(with_callback) - len(plain) == 2

    def test_has_the_tick_ask_for_due_callbacks_in_the_statement_that_asks_for_all(
        self, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
    ):
        keys = Watch(new_id())
        maintenance.tick(NOW, keys, activity.Books())
        committed = partial(django_capture_on_commit_callbacks, execute=True)
        with CaptureQueriesContext(connection) as idle, doorbell.held() as rings, committed():
            maintenance.tick(NOW, keys, activity.Books())
        assert not doorbell.merged(rings).callbacks
        cancelled_while_pending()
        with CaptureQueriesContext(connection) as due, doorbell.held() as rings, committed():
            maintenance.tick(NOW, keys, activity.Books())
        assert doorbell.merged(rings).callbacks
        assert len(idle) == len(due) == 1
