"""An operation between processes that carry it on, those who stop it, and whatever else happens to its tasks."""

from __future__ import annotations

from uuid import UUID

import pytest
from django.db import OperationalError, connection

from queueapp import operations, portions
from queueapp.domain.states import Action
from queueapp.models import Operation
from tests.concurrency.interleaving import BEFORE_COMMIT, Party, after, interleave
from tests.concurrency.test_stopped_process import stopping_before
from tests.integration import rows
from tests.integration.rows import NOW, carry_out, row

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "CHANGED_AT_ONCE", 2)
    # On a busy machine counting takes long, and would be left to a step that changes nothing.
    monkeypatch.setattr(portions, "STATEMENT_SECONDS", 60)


def start(**filters: str) -> UUID:
    """Of a cancellation."""
    return rows.begin_operation(Action.CANCEL, **filters).id


def cancelled(task_ids: list[UUID]) -> int:
    return [row(task_id).state for task_id in task_ids].count("cancelled")


def test_another_process_passes_by_while_one_takes_a_step():
    """Guard: SKIP LOCKED in `carry_on`."""
    tasks = rows.pending(3)
    operation_id = start()
    with Party(lambda: operations.carry_on(operation_id), BEFORE_COMMIT) as one:
        one.until_it_stops()
        assert operations.carry_on(operation_id) is False
        one.go_on()
        assert one.result() is True
    operation = carry_out(operation_id)
    assert (operation.done, operation.unchanged, cancelled(tasks)) == (3, 0, 3)


def test_a_stop_waits_for_the_step_and_nothing_is_changed_after_it():
    """Guard: `carry_on` locks the row (FOR UPDATE), which `stop` waits for: what it has answered holds."""
    tasks = rows.pending(3)
    operation_id = start()
    written = after("UPDATE queueapp_task")
    went_on, stopped = interleave(
        lambda: operations.carry_on(operation_id), written, lambda: operations.stop(operation_id, NOW)
    )
    assert (went_on, stopped) == (True, {operation_id})
    assert operations.carry_on(operation_id) is False
    operation = Operation.objects.get()
    assert (operation.state, operation.done, cancelled(tasks)) == ("stopped", 2, 2)


def test_a_stop_that_comes_after_the_last_step_is_told_so():
    """Guard: `running` in the WHERE of `stop`, looked at again after it has waited."""
    rows.pending()
    operation_id = start()
    went_on, stopped = interleave(
        lambda: operations.carry_on(operation_id), BEFORE_COMMIT, lambda: operations.stop(operation_id, NOW)
    )
    assert (went_on, stopped) == (True, set())
    assert Operation.objects.get().state == "done"


def test_a_task_that_is_assigned_meanwhile_is_not_cancelled_as_a_pending_one():
    """Guard: `_change` locks what it selects, so that the filter is looked at again."""
    worker = rows.session()
    [taken, waiting] = rows.pending(2)
    operation_id = start(state="pending")
    assigned, went_on = interleave(
        lambda: rows.assign([taken], worker), BEFORE_COMMIT, lambda: operations.carry_on(operation_id)
    )
    assert (assigned, went_on) == ([taken], True)
    assert (row(taken).state, row(waiting).state) == ("assigned", "cancelled")
    operation = carry_out(operation_id)
    assert (operation.total, operation.done, operation.unchanged) == (2, 2, 1)


def test_a_process_that_dies_in_a_step_leaves_it_undone_and_another_goes_on():
    """Guard: the tasks and the place that was reached are written in one transaction."""
    tasks = rows.pending(5)
    operation_id = start()
    assert operations.carry_on(operation_id)
    with stopping_before('UPDATE "queueapp_operation"'), pytest.raises(OperationalError):
        operations.carry_on(operation_id)
    connection.close()
    assert (Operation.objects.get().done, cancelled(tasks)) == (2, 2)
    operation = carry_out(operation_id)
    assert (operation.state, operation.total, operation.done, operation.unchanged) == ("done", 5, 5, 0)
    assert cancelled(tasks) == 5


def test_two_operations_over_the_same_tasks_do_not_deadlock():
    """Guard: each step locks its tasks in the order of their ids."""
    tasks = rows.pending(2)
    one, other = start(), start()
    assert interleave(
        lambda: operations.carry_on(one), after("UPDATE queueapp_task"), lambda: operations.carry_on(other)
    ) == (True, True)
    assert cancelled(tasks) == 2
    assert {carry_out(one).unchanged, carry_out(other).unchanged} == {0, 2}
