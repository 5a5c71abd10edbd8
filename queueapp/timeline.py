"""What became of a task, as it happened: how long it waited, who had it, how each attempt ended."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models.functions import Left, Length

from queueapp.domain.states import TERMINAL_STATES, Outcome, TaskState
from queueapp.models import Attempt, Task, WorkerSession

ATTEMPTS = 100
"""The latest. A task that was released again and again may have thousands."""
EXCERPT_LENGTH = 2000
NARROWEST = 0.5
"""Percent of the line: what took no time can be seen too."""

OVER = (Outcome.DONE, Outcome.CANCELLED)
"""Outcomes after which nothing but an explicit retry leads to another attempt."""


@dataclass(frozen=True, slots=True)
class Step:
    """`ends_at` is None of what happens at a moment. `tone`: one of `moment`, `wait`, `running`, or an outcome.
    `left` and `width` are percent of the time that is shown. `row`: of an attempt that has one; the beginnings and
    the lengths of its texts are beside it (`error_start`, `error_length`, and so of `details`)."""

    tone: str
    text: str
    begins_at: datetime
    ends_at: datetime | None = None
    worker_id: UUID | None = None
    worker: WorkerSession | None = None
    row: Attempt | None = None
    left: float = 0.0
    width: float = NARROWEST

    @property
    def duration(self) -> timedelta | None:
        return None if self.ends_at is None else self.ends_at - self.begins_at


@dataclass(frozen=True, slots=True)
class Timeline:
    """`left_out`: how many attempts there were before those that are shown."""

    steps: Sequence[Step]
    left_out: int


def timeline(task: Task, now: datetime) -> Timeline:
    """Of a task with its workers."""
    attempts = list(_attempts(task))
    left_out = max(0, (attempts[0].number if attempts else task.attempt) - 1)
    steps = list(_steps(task, attempts, left_out, now))
    begins_at = steps[1].begins_at if left_out and len(steps) > 1 else task.created_at
    return Timeline([_placed(step, begins_at, task.finished_at or now) for step in steps], left_out)


def _attempts(task: Task) -> Any:
    latest = task.attempts.filter(number__gt=task.attempt - ATTEMPTS).select_related("worker")
    parts = {
        "error_start": Left("error", EXCERPT_LENGTH),
        "error_length": Length("error"),
        "details_start": Left("details", EXCERPT_LENGTH),
        "details_length": Length("details"),
    }
    return latest.defer("error", "details").annotate(**parts).order_by("number")


def _steps(task: Task, attempts: Sequence[Attempt], left_out: int, now: datetime) -> Iterator[Step]:
    yield Step("moment", "submitted", task.created_at)
    free_since: datetime | None = None if left_out else task.created_at
    was_over = False
    for attempt in attempts:
        yield from _gap(free_since, attempt.assigned_at, was_over)
        yield Step(
            attempt.outcome,
            f"attempt {attempt.number}: {attempt.outcome}",
            attempt.assigned_at,
            attempt.ended_at,
            attempt.worker_id,
            attempt.worker,
            attempt,
        )
        free_since = attempt.ended_at
        was_over = bool(attempt.is_final) or attempt.outcome in OVER
    stored = {attempt.number for attempt in attempts}
    if task.attempt not in stored and task.assigned_at is not None:
        if task.state == TaskState.ASSIGNED:
            yield from _gap(free_since, task.assigned_at, was_over)
            text = f"attempt {task.attempt}: running"
            yield Step("running", text, task.assigned_at, now, task.worker_id, task.worker)
        elif task.state == TaskState.SUCCEEDED:
            yield from _gap(free_since, task.assigned_at, was_over)
            text = f"attempt {task.attempt}: done"
            ended = task.finished_at
            yield Step("done", text, task.assigned_at, ended, task.last_worker_id, task.last_worker)
            free_since = ended
    yield from _end(task, free_since or task.created_at, now)


def _end(task: Task, free_since: datetime, now: datetime) -> Iterator[Step]:
    if task.state == TaskState.PENDING:
        text = "waiting" if task.delayed_until is None else "delayed"
        yield Step("wait", text, free_since, max(now, free_since))
    elif task.state in TERMINAL_STATES and task.finished_at is not None:
        yield from _gap(free_since, task.finished_at, False)
        yield Step("moment", task.state, task.finished_at)


def _gap(since: datetime | None, until: datetime, was_over: bool) -> Iterator[Step]:
    if since is not None and until > since:
        yield Step("wait", "over, retried and waiting" if was_over else "waiting", since, until)


def _placed(step: Step, begins_at: datetime, ends_at: datetime) -> Step:
    whole = (ends_at - begins_at).total_seconds()
    if whole <= 0:
        return step
    left = 100 * (step.begins_at - begins_at).total_seconds() / whole
    width = 100 * (step.duration or timedelta()).total_seconds() / whole
    left = min(max(left, 0.0), 100 - NARROWEST)
    return replace(step, left=round(left, 2), width=round(min(max(width, NARROWEST), 100 - left), 2))
