"""What producers, operators and the clock do to tasks: cancel, retry, prioritise, expire, promote, prolong."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Case, F, Q, Value, When

from queueapp import callbacks, counters, database, doorbell, statements
from queueapp.domain.states import Outcome, TaskState
from queueapp.lifecycle.attempts import keep_cancelled
from queueapp.lifecycle.keys import note_keys
from queueapp.lifecycle.submitting import by_unique_key, live_by_unique_key
from queueapp.models import Attempt, Task
from queueapp.querysets import TaskQuerySet
from queueapp.statements import Given

PER_TRANSACTION = 1000

_SIGNS = Given(
    "sign", task_id="uuid", number="integer", until="timestamptz", shown="double precision", message="text"
)


@dataclass(frozen=True, slots=True)
class SignOfLife:
    """Restarts a task's timeout, for once with `seconds` if given; `progress` is shown to producers."""

    session_id: UUID
    task_id: UUID
    seconds: float | None = None
    progress: float | None = None
    message: str = ""


@database.retried
def cancel(task_ids: Collection[UUID], now: datetime) -> set[UUID]:
    """Cancel what is pending or assigned, and tell the holders. Returns the ids that were cancelled."""
    with transaction.atomic(savepoint=False):
        tasks = _locked(Task.objects.live(), task_ids)
        held = [task for task in tasks if task.worker_id is not None]
        revoked = keep_cancelled(held, now)
        cancelled = {task.id for task in tasks}
        Task.objects.live().filter(pk__in=cancelled).update(
            state=str(TaskState.CANCELLED),
            finished_at=now,
            worker=None,
            deadline=None,
            delayed_until=None,
            held_back=False,
        )
        counters.count_after_commit(counters.finished, [task.name for task in tasks], str(TaskState.CANCELLED))
        callbacks.owe({task.id: task.callback_url for task in tasks if task.callback_url}, now)
        note_keys((task.name, task.concurrency_key) for task in tasks)
        doorbell.ring(ended=cancelled, revoked=revoked, roster=bool(revoked))
        return cancelled


@database.retried
def retry(task_ids: Collection[UUID], now: datetime) -> set[UUID]:
    """Make terminal tasks pending again with a fresh budget of attempts. Returns the ids that were.

    A task whose unique key a live task has meanwhile taken stays as it is.
    """
    with transaction.atomic(savepoint=False):
        tasks = _locked(Task.objects.terminal(), task_ids)
        made_pending = [task for task in tasks if task.unique_key is None]
        _make_pending(made_pending, now)
        made_pending += _make_pending_by_key([task for task in tasks if task.unique_key is not None], now)
        note_keys((task.name, task.concurrency_key) for task in made_pending)
        doorbell.ring(routes={task.route_id for task in made_pending})
    return {task.id for task in made_pending}


@database.retried
def prioritise(task_ids: Collection[UUID], priority: int) -> set[UUID]:
    """Give the live ones among the tasks this priority (-100 to 100). Returns the ids of those that had another.

    Who waits takes a new place in line at once; who is assigned has it for the attempts to come.
    """
    with transaction.atomic(savepoint=False):
        others = Task.objects.live().exclude(priority=priority).filter(pk__in=list(task_ids)).order_by("id")
        tasks = list(others.select_for_update().values_list("id", "route_id", "name", "concurrency_key"))
        changed = {task_id for task_id, *_ in tasks}
        Task.objects.filter(pk__in=changed).update(priority=priority)
        note_keys((name, key) for *_, name, key in tasks)
        doorbell.ring(routes={route_id for _, route_id, *_ in tasks})
        return changed


def expire(now: datetime) -> int:
    """End the pending tasks whose `expires_at` has passed."""
    with transaction.atomic(savepoint=False):
        tasks = list(
            Task.objects.expired_by(now)
            .order_by("id")
            .select_for_update()
            .values_list("id", "name", "callback_url", "concurrency_key")[:PER_TRANSACTION]
        )
        ids = {task_id for task_id, *_ in tasks}
        Task.objects.pending().filter(pk__in=ids).update(
            state=str(TaskState.EXPIRED), finished_at=now, delayed_until=None, held_back=False
        )
        counters.count_after_commit(counters.finished, [name for _, name, *_ in tasks], str(TaskState.EXPIRED))
        callbacks.owe({task_id: url for task_id, _, url, _ in tasks if url}, now)
        note_keys((name, key) for _, name, _, key in tasks)
        doorbell.ring(ended=ids)
        return len(ids)


def promote(now: datetime) -> int:
    """Make ready the delayed tasks whose time has come."""
    with transaction.atomic(savepoint=False):
        due = list(
            Task.objects.due(now)
            .order_by("id")
            .select_for_update()
            .values_list("id", "route_id", "name", "concurrency_key")[:PER_TRANSACTION]
        )
        Task.objects.due(now).filter(pk__in=[task_id for task_id, *_ in due]).update(delayed_until=None)
        note_keys((name, key) for *_, name, key in due)
        doorbell.ring(routes={route_id for _, route_id, *_ in due})
        return len(due)


def prolong(signs: Sequence[SignOfLife], now: datetime) -> None:
    """Restart the timeouts of tasks whose holders gave a sign of life; others' signs change nothing."""
    by_task: dict[UUID, list[SignOfLife]] = {}
    for sign in signs:
        by_task.setdefault(sign.task_id, []).append(sign)
    with transaction.atomic(savepoint=False):
        held = (
            Task.objects.assigned()
            .filter(pk__in=list(by_task))
            .order_by("id")
            .select_for_update()
            .values_list("id", "worker_id", "attempt", "timeout_seconds", "progress", "progress_message")
        )
        rows = []
        for task_id, worker_id, attempt, timeout_seconds, progress, message in held:
            given = [sign for sign in by_task[task_id] if sign.session_id == worker_id]
            for sign in given:
                if sign.progress is not None:
                    progress, message = sign.progress, sign.message
            if given:
                deadline = now + timedelta(seconds=given[-1].seconds or timeout_seconds)
                rows.append((task_id, attempt, deadline, progress, message))
        _write_signs(rows)


def _write_signs(rows: Sequence[tuple[Any, ...]]) -> None:
    statement = _SIGNS.update_tasks(
        "deadline = sign.until, progress = sign.shown, progress_message = sign.message",
        "task.state = 'assigned' AND task.attempt = sign.number",
        "id",
    )
    if rows:
        statements.execute(statement, [_SIGNS.rows(rows)])


def _locked(tasks: TaskQuerySet, task_ids: Collection[UUID]) -> list[Task]:
    """Those of the tasks with these ids, in their order. What is large of them is left in the database."""
    rows = tasks.filter(pk__in=list(task_ids)).order_by("id").select_for_update()
    return list(rows.defer("data", "result"))


def _make_pending_by_key(tasks: Sequence[Task], now: datetime) -> list[Task]:
    """Those of the tasks, all with a unique key, whose key is free: of several with the same key the first."""
    tasks = sorted(tasks, key=by_unique_key)
    while tasks:
        live = live_by_unique_key([by_unique_key(task) for task in tasks])
        free = {by_unique_key(task): task for task in reversed(tasks) if by_unique_key(task) not in live}
        tasks = [task for task in tasks if free.get(by_unique_key(task)) is task]
        try:
            with transaction.atomic():
                # One after another in the order of their keys: what others hold is waited for in that order.
                for task in tasks:
                    _make_pending([task], now)
            return tasks
        except IntegrityError:
            pass  # Somebody has taken one of the keys since they were read: now it will be found.
    return []


def _make_pending(tasks: Sequence[Task], now: datetime) -> None:
    """They are locked and terminal."""
    if not tasks:
        return
    _keep_first_dones([task for task in tasks if task.state == TaskState.SUCCEEDED and task.attempt == 1])
    Task.objects.terminal().filter(pk__in=[task.pk for task in tasks]).update(
        state=str(TaskState.PENDING),
        reason="",
        error="",
        error_group=None,
        result=None,
        attempts_used=0,
        avoid=None,
        progress=None,
        progress_message="",
        held_back=Q(concurrency_key__isnull=False),
        available_at=now,
        waiting_since=now,
        finished_at=None,
        expires_at=Case(When(expires_at__lte=now, then=Value(None)), default=F("expires_at")),
    )


def _keep_first_dones(tasks: Sequence[Task]) -> None:
    """The rows that plain first `done`s are spared, now that the tasks' own rows will say something else."""
    Attempt.objects.bulk_create(
        (
            Attempt(
                task=task,
                number=1,
                worker_id=task.last_worker_id,
                outcome=str(Outcome.DONE),
                assigned_at=task.assigned_at,
                ended_at=task.finished_at,
            )
            for task in tasks
            if task.assigned_at is not None and task.finished_at is not None
        ),
        ignore_conflicts=True,
    )
