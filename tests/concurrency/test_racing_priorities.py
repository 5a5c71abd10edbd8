"""A priority that is changed while something else happens to the task."""

from __future__ import annotations

import pytest

from queueapp import lifecycle
from tests.concurrency.interleaving import BEFORE_COMMIT, interleave
from tests.integration.rows import NOW, after, assign, assigned, done, pending, row, session

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_task_that_ends_meanwhile_keeps_its_priority():
    """Guard: `prioritise` locks the rows of those that are live (FOR UPDATE) before it writes to them."""
    worker = session()
    (task_id,) = assigned(worker)
    verdicts, changed = interleave(
        lambda: lifecycle.finish([done(worker, task_id)], after(1)),
        BEFORE_COMMIT,
        lambda: lifecycle.prioritise([task_id], 7),
    )
    assert (verdicts, changed) == (["accepted"], set())
    assert (row(task_id).state, row(task_id).priority) == ("succeeded", 0)


def test_a_task_that_was_assigned_just_before_has_both():
    worker = session()
    (task_id,) = pending()
    given, changed = interleave(
        lambda: assign([task_id], worker), BEFORE_COMMIT, lambda: lifecycle.prioritise([task_id], 7)
    )
    assert (given, changed) == ([task_id], {task_id})
    assert (row(task_id).worker_id, row(task_id).priority) == (worker.id, 7)


def test_a_pass_leaves_out_a_task_whose_priority_is_being_changed_and_finds_it_next():
    worker = session()
    (task_id,) = pending()
    changed, given = interleave(
        lambda: lifecycle.prioritise([task_id], 7), BEFORE_COMMIT, lambda: assign([task_id], worker)
    )
    assert (changed, given) == ({task_id}, [])
    assert assign([task_id], worker) == [task_id]
    assert row(task_id).priority == 7


def test_those_who_change_the_same_tasks_in_another_order_do_not_deadlock():
    """Guard: `ORDER BY id` of the lock."""
    tasks = pending(20)
    changed, cancelled = interleave(
        lambda: lifecycle.prioritise(tasks[::-1], 7), BEFORE_COMMIT, lambda: lifecycle.cancel(tasks, NOW)
    )
    assert changed == cancelled == set(tasks)
