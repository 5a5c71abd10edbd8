"""Tasks that are to be deleted, and somebody who wants one of them just then."""

from __future__ import annotations

from uuid import UUID

import pytest

from queueapp import callbacks, lifecycle
from queueapp.callbacks import Result
from queueapp.models import Delivery, Task
from tests.concurrency.interleaving import BEFORE_COMMIT, Party, interleave
from tests.integration import rows
from tests.integration.rows import NOW, after, row

pytestmark = pytest.mark.django_db(transaction=True)

LATER = after(1000 * 86_400)


@pytest.fixture
def tasks() -> list[UUID]:
    """Ended, with callbacks that were given up."""
    tasks = rows.pending(2, callback_url="https://hooks.example/tasks")
    lifecycle.cancel(tasks, NOW)
    claimed = callbacks.claim(2, {}, NOW)
    callbacks.settle([Result(each.id, 1, NOW, 410, "gone") for each in claimed], NOW)
    return tasks


def test_who_retries_one_keeps_it_and_holds_up_nobody(tasks: list[UUID]):
    """Guard: SKIP LOCKED in `prune`."""
    retried, other = tasks
    with Party(lambda: lifecycle.retry([retried], NOW), BEFORE_COMMIT) as one:
        one.until_it_stops()
        assert lifecycle.prune(tasks, LATER) == {other}
        one.go_on()
        assert one.result() == {retried}
    assert row(retried).state == "pending"


def test_a_callback_that_is_just_tried_again_stays_and_holds_up_nobody(tasks: list[UUID]):
    """Guard: SKIP LOCKED of the other kinds."""
    delivery = Delivery.objects.get(task=tasks[0]).id
    with Party(lambda: callbacks.try_again([delivery], NOW), BEFORE_COMMIT) as one:
        one.until_it_stops()
        rows.a_round_of_retention(LATER)
        assert list(Delivery.objects.values_list("id", flat=True)) == [delivery]
        one.go_on()
        assert one.result() == {delivery}


def test_a_callback_that_is_tried_again_is_delivered_with_its_task(tasks: list[UUID]):
    """Guard: `prune` looks whether a callback is owed after it has waited for who makes it so."""
    delivery = Delivery.objects.get(task=tasks[0]).id
    chosen, pruned = interleave(
        lambda: callbacks.try_again([delivery], NOW), BEFORE_COMMIT, lambda: lifecycle.prune(tasks, LATER)
    )
    assert (chosen, pruned) == ({delivery}, {tasks[1]})
    assert [each.task_id for each in callbacks.claim(2, {}, NOW)] == [tasks[0]]
    assert Task.objects.count() == 1
