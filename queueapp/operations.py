"""Operations: one action on every task that a filter selects, carried out in steps, by any process.

A step is a short transaction. It locks the operation's row, changes the next tasks in the order of their ids, and
writes how far it has come. Whoever dies in a step leaves it undone, and the next step, of any process, begins
where the last one ended. The lock keeps an operation to one process at a time and dies with it: others pass by.

Ids are looked at in bounded portions, whether few tasks or many are selected: no step gets longer as the table
grows. The tasks are counted first, so that progress has an end to be measured against.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import nullcontext
from datetime import datetime
from time import monotonic
from typing import Any, TypeVar
from uuid import UUID

from django.db import transaction

from queueapp import audit, database, deadlines, lifecycle, portions
from queueapp.domain.errors import FieldError, InvalidFilter
from queueapp.domain.payloads import json_text
from queueapp.domain.states import CHANGEABLE, Action, OperationState
from queueapp.models import ApiKey, Operation, Task
from queueapp.portions import Portion, Walk
from queueapp.querysets import TaskQuerySet
from queueapp.task_filters import selected, text_of

ASKED_BY_LENGTH = 200
COUNTED_AT_ONCE = 20_000
LOOKED_AT_ONCE = 5_000
CHANGED_AT_ONCE = 500
QUICK_SECONDS = portions.STATEMENT_SECONDS / portions.GROWTH**2
"""After a portion that took less the next one may be larger, and should still be far from too large."""

R = TypeVar("R")

Verb = Callable[[Collection[UUID], datetime], set[UUID]]
"""Changes those of the tasks whose state allows it, and returns their ids."""

_VERBS: dict[Action, Verb] = {
    Action.CANCEL: lifecycle.cancel,
    Action.RETRY: lifecycle.retry,
}


def start(
    action: Action,
    document: Mapping[str, Any],
    *,
    tasks_of: ApiKey | None,
    names: Collection[str] | None,
    asked_by: str,
    now: datetime,
    priority: int | None = None,
) -> Operation:
    """Begin an operation over the tasks that are there now and that `selected` finds with the filter.

    `tasks_of` and `names` bound it to what the caller may touch. InvalidFilter says what cannot be used. The
    counting begins here, so that in a small installation the total is known at once; what takes too long is left
    to the steps. `priority`: for `prioritise`.
    """
    selected(Task.objects.all(), document, at=now)
    refuse_states_out_of_reach(action, document)
    with transaction.atomic():
        operation = Operation.objects.create(
            action=str(action),
            filter=dict(document),
            priority=priority,
            tasks_of=tasks_of,
            names=None if names is None else sorted(names),
            asked_by=asked_by,
            created_at=now,
        )
        try:
            with deadlines.within(portions.STATEMENT_SECONDS):
                counted = _counted(operation, COUNTED_AT_ONCE)
        except deadlines.CutOff:
            operation.portion = portions.smaller(COUNTED_AT_ONCE)
            _write(operation)
        else:
            _write_counted(operation, counted, now)
    operation.refresh_from_db()
    return operation


def start_for_operator(
    actor: audit.Actor,
    action: Action,
    document: Mapping[str, Any],
    *,
    names: Collection[str] | None = None,
    now: datetime,
    priority: int | None = None,
) -> Operation:
    """The same over the tasks of all producers, with an entry in the audit log. It has the number that was counted
    at once; the operation, whose id it has, goes on to count."""
    asked_by = actor.name[:ASKED_BY_LENGTH]
    with transaction.atomic():
        operation = start(
            action, document, tasks_of=None, names=names, asked_by=asked_by, now=now, priority=priority
        )
        audit.record(
            actor,
            str(action),
            kind="operation",
            subject=str(operation.id),
            count=operation.total,
            detail=json_text(document) if priority is None else f"priority={priority} {json_text(document)}",
        )
    return operation


@database.retried
def stop(operation_id: UUID, now: datetime) -> set[UUID]:
    """Let it change no more tasks from now on. Returns its id, or nothing if it was not running any more."""
    running = Operation.objects.running().filter(pk=operation_id)
    # Waits for the step that is being taken, which holds the row.
    stopped = running.update(state=str(OperationState.STOPPED), finished_at=now)
    return {operation_id} if stopped else set()


def running() -> list[UUID]:
    """Those that are to be carried on, the oldest first."""
    return list(Operation.objects.running().order_by("id").values_list("id", flat=True))


@database.retried
def carry_on(operation_id: UUID) -> bool:
    """Take one step. False if there is none to take: it has ended, or another process is at it."""
    with database.brief_transaction():
        rows = Operation.objects.running().filter(pk=operation_id)
        operation = rows.select_for_update(skip_locked=True).first()
        if operation is None:
            return False
        step = _count if operation.counted_at is None else _change
        step(operation, database.now())
        return True


def _count(operation: Operation, now: datetime) -> None:
    _write_counted(operation, _in_time(_counted, operation, COUNTED_AT_ONCE), now)


def _counted(operation: Operation, size: int) -> tuple[UUID | None, int]:
    """Up to where, and how many are to be changed there."""
    portion = _next_portion(operation, size)
    return portion.end, portion.of(_selection(operation)).count()


def _write_counted(operation: Operation, counted: tuple[UUID | None, int], now: datetime) -> None:
    end, more = counted
    if end is None:
        _write(operation, total=operation.total + more, counted_at=now, position=None)
    else:
        _write(operation, total=operation.total + more, position=end)


def _in_time(read: Callable[[Operation, int], R], operation: Operation, largest: int) -> R:
    """What is read of a portion of that size, or of a smaller one where that takes too long: a step holds the row
    of its operation, for which whoever stops it waits. The smallest takes what it takes: an operation gets on,
    however slow its filter is.

    The operation remembers what was found good, for its next steps, whoever takes them.
    """
    size = min(operation.portion or largest, largest)
    while True:
        smaller = portions.smaller(size)
        begun = monotonic()
        try:
            with deadlines.within(portions.STATEMENT_SECONDS) if smaller else nullcontext():
                found = read(operation, size)
        except deadlines.CutOff:
            size = smaller
        else:
            is_quick = monotonic() - begun < QUICK_SECONDS
            operation.portion = min(size * portions.GROWTH, largest) if is_quick else size
            return found


def _change(operation: Operation, now: datetime) -> None:
    end, ids = _in_time(_locked, operation, LOOKED_AT_ONCE)
    changed = _verb_of(operation)(ids, now) if ids else set()
    done = operation.done + len(ids)
    unchanged = operation.unchanged + len(ids) - len(changed)
    total = max(operation.total, done)
    if len(ids) == CHANGED_AT_ONCE:
        _write(operation, total=total, done=done, unchanged=unchanged, position=ids[-1])
    elif end is not None:
        _write(operation, total=total, done=done, unchanged=unchanged, position=end)
    else:
        # What was counted and not found again has become something else by itself.
        unchanged += total - done
        state = str(OperationState.DONE)
        _write(operation, total=total, done=total, unchanged=unchanged, state=state, finished_at=now)


def _locked(operation: Operation, size: int) -> tuple[UUID | None, list[UUID]]:
    """Up to where, and the first of those that are to be changed there. Locked as they are looked at: a task that
    another state took meanwhile is not the one that was asked for."""
    portion = _next_portion(operation, size)
    tasks = portion.of(_selection(operation)).select_for_update(of=("self",))
    return portion.end, list(tasks.values_list("id", flat=True)[:CHANGED_AT_ONCE])


def _verb_of(operation: Operation) -> Verb:
    priority = operation.priority
    if priority is None:
        return _VERBS[Action(operation.action)]
    return lambda task_ids, _: lifecycle.prioritise(task_ids, priority)


def _next_portion(operation: Operation, size: int) -> Portion:
    """Of all tasks; which of them are to be changed is asked of these."""
    return Walk(operation.position, upwards=True).portion(Task.objects.all(), size)


def _selection(operation: Operation) -> TaskQuerySet:
    states = [str(state) for state in CHANGEABLE[Action(operation.action)]]
    tasks = Task.objects.filter(created_at__lte=operation.created_at, state__in=states)
    if operation.tasks_of_id is not None:
        tasks = tasks.filter(submitted_by=operation.tasks_of_id)
    if operation.names is not None:
        tasks = tasks.filter(name__in=operation.names)
    return selected(tasks, operation.filter, at=operation.created_at)


def _write(operation: Operation, **columns: Any) -> None:
    Operation.objects.filter(pk=operation.pk).update(portion=operation.portion, **columns)


def refuse_states_out_of_reach(action: Action, document: Mapping[str, Any]) -> None:
    """InvalidFilter for a usable filter whose states the action does not change."""
    if "state" in document:
        states = CHANGEABLE[action]
        if not set(text_of("state", document["state"]).split(",")) <= set(states):
            message = f"{action} changes only tasks that are {', '.join(states)}"
            raise InvalidFilter([FieldError("/state", message)])
