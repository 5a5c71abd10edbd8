"""What is kept of attempts that ended otherwise than `done`: their rows, and the groups of their errors."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from queueapp import counters, doorbell
from queueapp.domain.fingerprints import error_group
from queueapp.domain.states import Outcome, TaskState
from queueapp.models import Attempt, Task

FAILURES = (Outcome.ERROR, Outcome.LOST, Outcome.TIMEOUT)


@dataclass(frozen=True, slots=True)
class Ending:
    """An attempt that ended otherwise than `done`, with the task as it was when it was locked."""

    task: Task
    outcome: Outcome
    error: str = ""
    details: str = "null"
    retry: bool | None = None
    retry_after: float | None = None


def error_groups(endings: Sequence[Ending]) -> list[UUID | None]:
    """Of each its error's; None of those that no error has ended. Where a worker is lost all have the same."""
    known: dict[tuple[str, str], UUID] = {}
    groups: list[UUID | None] = []
    for ending in endings:
        cause = ending.task.name, ending.error
        if ending.outcome in FAILURES and cause not in known:
            known[cause] = error_group(*cause)
        groups.append(known[cause] if ending.outcome in FAILURES else None)
    return groups


def keep(endings: Sequence[tuple[Ending, UUID | None]], now: datetime, failed: Collection[UUID] = ()) -> None:
    """Store and count them, each with its error's group. `failed`: the tasks that it ends."""
    _count([ending for ending, _ in endings], failed)
    Attempt.objects.bulk_create(
        _attempt(ending, now, group, ending.task.id in failed) for ending, group in endings
    )


def keep_cancelled(tasks: Iterable[Task], now: datetime) -> list[doorbell.Revoked]:
    """Of tasks that a verb of another module ends. What to tell their holders."""
    endings = [Ending(task, Outcome.CANCELLED) for task in tasks]
    keep([(ending, None) for ending in endings], now)
    return [revoked(ending) for ending in endings]


def revoked(ending: Ending) -> doorbell.Revoked:
    task = ending.task
    assert task.worker_id is not None
    return doorbell.Revoked(task.worker_id, task.id, task.attempt, str(ending.outcome))


def _count(endings: Sequence[Ending], failed: Collection[UUID]) -> None:
    names: dict[Outcome, list[str]] = {}
    for ending in endings:
        names.setdefault(ending.outcome, []).append(ending.task.name)
    for outcome, each in names.items():
        counters.count_after_commit(counters.ended, each, str(outcome))
    finished = [ending.task.name for ending in endings if ending.task.id in failed]
    counters.count_after_commit(counters.finished, finished, str(TaskState.FAILED))


def _attempt(ending: Ending, now: datetime, group: UUID | None = None, is_final: bool = False) -> Attempt:
    task = ending.task
    assert task.assigned_at is not None
    return Attempt(
        task_id=task.id,
        number=task.attempt,
        worker_id=task.last_worker_id,
        outcome=str(ending.outcome),
        assigned_at=task.assigned_at,
        ended_at=now,
        error=ending.error,
        error_group=group,
        is_final=is_final if group else None,
        details=ending.details,
    )
