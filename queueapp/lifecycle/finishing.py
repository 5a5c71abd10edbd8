"""Workers' results: from assigned to succeeded in one statement, or to what an error comes to (`ending`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Literal, NamedTuple
from uuid import UUID

from django.db import transaction

from queueapp import callbacks, counters, database, doorbell
from queueapp.domain.states import Outcome, TaskState
from queueapp.lifecycle import activity
from queueapp.lifecycle.attempts import Ending
from queueapp.lifecycle.ending import end_attempts, locked
from queueapp.lifecycle.keys import note_keys
from queueapp.models import Attempt, Task
from queueapp.statements import Given, Returned

Verdict = Literal["accepted", "stale", "unknown"]

_REPORTS = Given("report", task_id="uuid", session_id="uuid", number="integer", payload="text")


class _Done(NamedTuple):
    """A task that has just succeeded, in the columns that the statement returns."""

    task_id: UUID
    session_id: UUID
    number: int
    assigned_at: datetime
    name: str
    callback_url: str | None
    concurrency_key: str | None
    waiting_since: datetime


_DONE = Returned(_Done)


class Report(NamedTuple):
    """A worker's word on a task it was given. `payload` is JSON text: the result, or an error's details.
    `retry_after`: seconds in place of the backoff."""

    session_id: UUID
    task_id: UUID
    done: bool
    payload: str = "null"
    error: str = ""
    attempt: int | None = None
    retry: bool | None = None
    retry_after: float | None = None


def finish(reports: Sequence[Report], now: datetime) -> list[Verdict]:
    """Take workers' results: a verdict for each. Only the holder of the current attempt is accepted, and of
    several reports on a task the first that may be."""
    with transaction.atomic(savepoint=False):
        accepted: list[Report] = []
        for a_report_a_task in _rounds(reports):
            done = _succeed([report for report in a_report_a_task if report.done], now)
            done |= _fail([report for report in a_report_a_task if not report.done], now)
            accepted += [report for report in a_report_a_task if report.task_id in done]
        verdicts = _verdicts(reports, accepted)
        _count_stale(reports, verdicts, now)
        activity.note(activity.ERROR, [report.session_id for report in accepted if not report.done], now)
    return verdicts


def _succeed(reports: Sequence[Report], now: datetime) -> set[UUID]:
    """The plain way, in one statement: nothing is read first, and a first attempt leaves no row behind."""
    rows = _succeeded([(r.task_id, r.session_id, r.attempt, r.payload) for r in reports], now)
    Attempt.objects.bulk_create(
        Attempt(
            task_id=row.task_id,
            worker_id=row.session_id,
            number=row.number,
            outcome=str(Outcome.DONE),
            assigned_at=row.assigned_at,
            ended_at=now,
        )
        for row in rows
        if row.number > 1
    )
    done = {row.task_id for row in rows}
    names = [row.name for row in rows]
    counters.count_after_commit(counters.ended, names, str(Outcome.DONE))
    counters.count_after_commit(counters.finished, names, str(TaskState.SUCCEEDED))
    counters.ends.add_after_commit((now - row.waiting_since).total_seconds() for row in rows)
    callbacks.owe({row.task_id: row.callback_url for row in rows if row.callback_url}, now)
    note_keys((row.name, row.concurrency_key) for row in rows)
    doorbell.ring(ended=done, roster=bool(done))
    return done


def _succeeded(reports: Sequence[tuple[UUID, UUID, int | None, str]], now: datetime) -> list[_Done]:
    """What was written. A task that changed while the statement waited for it is looked at once more: it may be
    the holder's still, with a longer deadline."""
    statement = _REPORTS.update_tasks(
        """
        state = 'succeeded', result = report.payload, error = '', finished_at = %s,
        attempts_used = attempts_used + 1, worker_id = NULL, deadline = NULL
        """,
        """
        task.state = 'assigned' AND task.worker_id = report.session_id
        AND (report.number IS NULL OR report.number = task.attempt)
        """,
        _DONE.columns("id", "last_worker_id", "attempt", *_Done._fields[3:]),
        beside=activity.noting(activity.DONE),
    )
    rows: list[_Done] = []
    for _ in range(2):
        if reports:
            rows += _DONE.rows(statement, [_REPORTS.rows(reports), *activity.times(now)])
            written = {row.task_id for row in rows}
            reports = [report for report in reports if report[0] not in written]
    if not database.is_postgresql():
        activity.note(activity.DONE, [row.session_id for row in rows], now)
    return rows


def _fail(reports: Sequence[Report], now: datetime) -> set[UUID]:
    if not reports:
        return set()
    by_task = {report.task_id: report for report in reports}
    endings = []
    for task in locked(Task.objects.filter(pk__in=list(by_task))):
        report = by_task[task.id]
        if task.worker_id == report.session_id and report.attempt in (None, task.attempt):
            ending = Ending(task, Outcome.ERROR, report.error, report.payload, report.retry, report.retry_after)
            endings.append(ending)
    return end_attempts(endings, now)


def _rounds(reports: Sequence[Report]) -> list[list[Report]]:
    """The reports in their order, in as many rounds as some task has of them: nearly always one."""
    if len({report.task_id for report in reports}) == len(reports):
        return [list(reports)]
    rounds: list[list[Report]] = []
    seen: Counter[UUID] = Counter()
    for report in reports:
        if seen[report.task_id] == len(rounds):
            rounds.append([])
        rounds[seen[report.task_id]].append(report)
        seen[report.task_id] += 1
    return rounds


def _verdicts(reports: Sequence[Report], accepted: Sequence[Report]) -> list[Verdict]:
    taken = {id(report) for report in accepted}
    others = {report.task_id for report in reports if id(report) not in taken}
    # Nearly always there are none: to put the question together would be a quarter of the time of a result.
    known = _as_they_are(others) if others else {}

    def verdict(report: Report) -> Verdict:
        if id(report) in taken:
            return "accepted"
        if report.task_id not in known:
            return "unknown"
        # The result that stands, said again: its acknowledgement was lost, or the answer to its commit.
        repeated = report.done and known[report.task_id] == (
            str(TaskState.SUCCEEDED),
            report.session_id,
            report.attempt,
        )
        return "accepted" if repeated else "stale"

    return [verdict(report) for report in reports]


def _as_they_are(task_ids: Collection[UUID]) -> dict[UUID, tuple[str, UUID | None, int]]:
    """The state, the last holder and the attempt of those of the tasks that there are."""
    rows = Task.objects.filter(pk__in=task_ids).values_list("id", "state", "last_worker_id", "attempt")
    return {task_id: (state, holder, attempt) for task_id, state, holder, attempt in rows}


def _count_stale(reports: Sequence[Report], verdicts: Sequence[Verdict], now: datetime) -> None:
    stale = [r.session_id for r, verdict in zip(reports, verdicts, strict=True) if verdict == "stale"]
    if stale:
        transaction.on_commit(lambda: counters.stale.add(number=len(stale)), robust=True)
        activity.note(activity.STALE, stale, now)
