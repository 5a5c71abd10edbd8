"""The ends of attempts that are not done: from assigned to failed, or back to pending."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import transaction

from queueapp import callbacks, counters, database, doorbell, statements
from queueapp.domain.payloads import json_text
from queueapp.domain.retries import Again, RetryPolicy, after_attempt
from queueapp.domain.states import Outcome, TaskState
from queueapp.domain.submission import backoff_of
from queueapp.lifecycle import activity
from queueapp.lifecycle.attempts import Ending, error_groups, keep, revoked
from queueapp.lifecycle.keys import note_keys
from queueapp.models import Task
from queueapp.querysets import TaskQuerySet
from queueapp.statements import Given

DEFAULT_RETRY_ON = (str(Outcome.LOST), str(Outcome.TIMEOUT))
PER_TRANSACTION = 1000

_ENDINGS = Given(
    "ending",
    task_id="uuid",
    number="integer",
    new_state="text",
    new_reason="text",
    new_error="text",
    used="integer",
    until="timestamptz",
    waiting="timestamptz",
    finished="timestamptz",
    avoided="text",
    grouped="uuid",
)


def release(given_back: Collection[tuple[UUID, UUID]], now: datetime) -> int:
    """Workers give tasks back, as (session, task); nothing is counted against them. Returns how many they held."""
    pairs = set(given_back)
    with transaction.atomic(savepoint=False):
        tasks = locked(Task.objects.filter(pk__in=[task_id for _, task_id in pairs]))
        endings = [Ending(task, Outcome.RELEASED) for task in tasks if (task.worker_id, task.id) in pairs]
        return len(end_attempts(endings, now))


def held(session_ids: Iterable[UUID], at_most: int) -> list[UUID]:
    """Tasks that the sessions hold, whichever, where they hold so many."""
    return list(Task.objects.held_by(session_ids).order_by().values_list("id", flat=True)[:at_most])


def rescue(outcomes: Mapping[UUID, Outcome], now: datetime, task_ids: Iterable[UUID] | None = None) -> int:
    """Take back what the sessions hold, all of it or those of the tasks: `lost` with their connection, or
    `released` by the server. Returns how many."""
    tasks = Task.objects.held_by(outcomes)
    if task_ids is not None:
        tasks = tasks.filter(pk__in=list(task_ids))
    with transaction.atomic(savepoint=False):
        return len(end_attempts([_rescued(task, outcomes) for task in locked(tasks)], now))


def _rescued(task: Task, outcomes: Mapping[UUID, Outcome]) -> Ending:
    assert task.worker_id is not None
    outcome = outcomes[task.worker_id]
    return Ending(task, outcome, "The worker's connection was lost." if outcome is Outcome.LOST else "")


def time_out(now: datetime) -> int:
    """End the attempts whose deadline has passed without a result or a sign of life."""
    with transaction.atomic(savepoint=False):
        overdue = locked(Task.objects.overdue(now), PER_TRANSACTION)
        endings = [
            Ending(task, Outcome.TIMEOUT, f"No result and no sign of progress for {task.timeout_seconds:g} s.")
            for task in overdue
        ]
        doorbell.ring(revoked=tuple(revoked(ending) for ending in endings))
        return len(end_attempts(endings, now))


def end_attempts(endings: Sequence[Ending], now: datetime) -> set[UUID]:
    """Decide on each task by its policy, write that, keep the attempt. The tasks are locked by the caller."""
    rows, routes, ended, scheduled = [], set(), set(), False
    groups = error_groups(endings)
    for ending, group in zip(endings, groups, strict=True):
        task = ending.task
        decision = after_attempt(
            ending.outcome,
            task.attempts_used,
            RetryPolicy(task.max_attempts, _retry_on(task), backoff_of(task.backoff)),
            retry=ending.retry,
            retry_after=ending.retry_after,
            jitter=random.random(),
        )
        if isinstance(decision, Again):
            delayed_until = now + timedelta(seconds=decision.delay_seconds) if decision.delay_seconds else None
            scheduled = scheduled or delayed_until is not None
            waiting_since = delayed_until or now
            state, reason, finished_at = TaskState.PENDING, "", None
            if delayed_until is None:
                routes.add(task.route_id)
        else:
            delayed_until, waiting_since = None, task.waiting_since
            state, reason, finished_at = TaskState.FAILED, str(decision.reason), now
            ended.add(task.id)
        rows.append(
            (
                task.id,
                task.attempt,
                str(state),
                reason,
                ending.error,
                decision.attempts_used,
                delayed_until,
                waiting_since,
                finished_at,
                json_text(_avoid(ending)),
                group if finished_at else None,
            )
        )
    written = _write_back(rows)
    failed = (ending.task for ending in endings if ending.task.id in ended & written)
    counters.ends.add_after_commit((now - task.waiting_since).total_seconds() for task in failed)
    kept = [(ending, group) for ending, group in zip(endings, groups, strict=True) if ending.task.id in written]
    keep(kept, now, ended)
    over = ended & written
    urls = {ending.task.id: ending.task.callback_url for ending in endings if ending.task.id in over}
    callbacks.owe({task_id: url for task_id, url in urls.items() if url}, now)
    note_keys((ending.task.name, ending.task.concurrency_key) for ending in endings)
    doorbell.ring(routes=routes, ended=ended, roster=bool(written), scheduled=scheduled)
    return written


def _write_back(rows: Sequence[tuple[Any, ...]]) -> set[UUID]:
    if not rows:
        return set()
    json = "::jsonb" if database.is_postgresql() else ""
    statement = _ENDINGS.update_tasks(
        f"""
        state = ending.new_state, reason = ending.new_reason, error = ending.new_error,
        attempts_used = ending.used, available_at = COALESCE(ending.until, task.available_at),
        delayed_until = ending.until, waiting_since = ending.waiting, finished_at = ending.finished,
        avoid = ending.avoided{json}, error_group = ending.grouped, worker_id = NULL, deadline = NULL,
        held_back = task.concurrency_key IS NOT NULL AND ending.new_state = 'pending'
        """,
        "task.state = 'assigned' AND task.attempt = ending.number",
        "id",
    )
    return {database.as_uuid(row[0]) for row in statements.execute(statement, [_ENDINGS.rows(rows)])}


def _avoid(ending: Ending) -> list[str]:
    """The sessions on which the task was lost or timed out, this one included."""
    avoid = list(ending.task.avoid or [])
    if ending.outcome in (Outcome.LOST, Outcome.TIMEOUT):
        avoid.append(str(ending.task.worker_id))
    return avoid


def _retry_on(task: Task) -> Sequence[str]:
    return DEFAULT_RETRY_ON if task.retry_on is None else task.retry_on


def lock(session_ids: Iterable[UUID], task_ids: Iterable[UUID]) -> None:
    """Lock the sessions, then the tasks. Who calls several verbs in one transaction begins with this: each verb
    locks its rows by id, but one verb after another does not."""
    activity.lock_sessions(session_ids)
    if database.is_postgresql():
        tasks = Task.objects.filter(pk__in=list(task_ids))
        list(tasks.order_by("id").select_for_update().values_list("id"))


def locked(tasks: TaskQuerySet, limit: int | None = None) -> list[Task]:
    """Those of the tasks that are assigned, at most `limit`, locked in the order of their ids.

    Who had to wait for a lock sees the row as it is now: the conditions stand in the locking query itself,
    where PostgreSQL looks at them again.
    """
    assigned = tasks.assigned().order_by("id").select_for_update()
    return list(assigned.defer("data", "result", "tags")[:limit])
