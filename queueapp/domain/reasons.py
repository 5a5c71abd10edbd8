"""What holds a task back, or where it went instead: each reason with since when, and until when.

Pure: the rows' facts and what the dispatcher foresees in, reasons out. Times in sentences are UTC.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from queueapp.domain.choice import tiers_allowed
from queueapp.domain.states import TERMINAL_STATES, TaskState
from queueapp.domain.times import as_rfc3339
from queueapp.domain.verdicts import Group, Standing, Verdict, nearest_miss, tiers_of


class Cause(StrEnum):
    """What a task waits for, or why it waits no more."""

    FINISHED = "finished"
    ASSIGNED = "assigned"
    PAUSED = "paused"
    DELAYED = "delayed"
    BACKOFF = "backoff"
    CONCURRENCY = "concurrency"
    NO_WORKER = "no_worker"
    NO_MATCH = "no_match"
    DRAINING = "draining"
    FULL = "full"
    SPILL = "spill"
    BEHIND = "behind"
    READY = "ready"
    """A worker is about to get it."""


@dataclass(frozen=True, slots=True)
class Reason:
    """`message` is a clause that goes on after "It". `since` and `until` where they are known."""

    cause: Cause
    message: str
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """A task as its row has it, or as it would be if it were submitted now (`exists` is false).

    `worker`: who holds it or, once it is finished, who held it last; `worker_label` how to call it. `ended_at`:
    when its last attempt ended.
    """

    name: str
    attrs: Mapping[str, str]
    created_at: datetime
    waiting_since: datetime
    exists: bool = True
    state: TaskState = TaskState.PENDING
    reason: str = ""
    error: str = ""
    attempt: int = 0
    delayed_until: datetime | None = None
    assigned_at: datetime | None = None
    deadline: datetime | None = None
    finished_at: datetime | None = None
    ended_at: datetime | None = None
    spill_after_seconds: float | None = None
    avoid: Collection[UUID] = ()
    worker: UUID | None = None
    worker_label: str = ""

    @property
    def is_ready(self) -> bool:
        return self.state == TaskState.PENDING and self.delayed_until is None

    @property
    def ready_since(self) -> datetime | None:
        return self.waiting_since if self.exists and self.is_ready else None

    def levels_allowed(self, now: datetime) -> int:
        return tiers_allowed((now - self.waiting_since).total_seconds(), self.spill_after_seconds)


@dataclass(frozen=True, slots=True)
class Pause:
    """Of the task's queue."""

    by: str
    note: str
    since: datetime | None


@dataclass(frozen=True, slots=True)
class Limit:
    """How many tasks of the task's queue, or of its concurrency key, run, and how many of them may.

    `before`: how many of the key come before the task, while it is held back; `held_back_before`: those of them
    that are held back too. `is_exact` is false where there are more.
    """

    running: int
    allowed: int
    key: str | None = None
    before: int = 0
    held_back_before: int = 0
    is_exact: bool = True

    @property
    def is_reached(self) -> bool:
        """Whether the task waits for it: the room that there is belongs to those before it."""
        return self.running + self.before >= self.allowed


@dataclass(frozen=True, slots=True)
class Foreseen:
    """Who takes a ready task in the next pass (None: nobody), and how many ready tasks, which the same workers
    could take, come before it. `is_exact` is false where there may be more than were counted: the choice is then
    the one among those that were looked at."""

    worker: UUID | None
    ahead: int = 0
    is_exact: bool = True

    @property
    def ahead_in_words(self) -> str:
        if self.is_exact:
            return f"{self.ahead} {'task is' if self.ahead == 1 else 'tasks are'} ahead of it"
        return f"more than {self.ahead} tasks are ahead of it" if self.ahead else "other tasks may be ahead of it"


@dataclass(frozen=True, slots=True)
class Case:
    """All that the reasons are found in."""

    facts: Facts
    pause: Pause | None
    limits: Sequence[Limit]
    foreseen: Foreseen | None
    now: datetime
    verdicts: Sequence[Verdict]
    groups: Sequence[Group]

    @property
    def is_pending(self) -> bool:
        return self.facts.state == TaskState.PENDING

    def tiers(self) -> tuple[list[list[Verdict]], list[list[Verdict]]]:
        """By specificity, highest first: those that may take the task now, and those that may not yet."""
        tiers = tiers_of(self.verdicts)
        allowed = self.facts.levels_allowed(self.now)
        return tiers[:allowed], tiers[allowed:]


def _ended(case: Case) -> Iterator[Reason]:
    facts = case.facts
    if facts.state not in TERMINAL_STATES or facts.finished_at is None:
        return
    when = f"at {_utc(facts.finished_at)}"
    on = f" on worker {facts.worker_label}" if facts.worker else ""
    attempt = f"attempt {facts.attempt}"
    match facts.state:
        case TaskState.SUCCEEDED:
            message = f"it succeeded {when}, in {attempt}{on}"
        case TaskState.FAILED:
            error = f" ({_excerpt(facts.error)})" if facts.error else ""
            message = f"it failed {when}: {attempt}{on} ended as {facts.reason}{error}"
        case TaskState.CANCELLED:
            message = f"it was cancelled {when}"
        case _:
            message = f"it expired {when}, before a worker had taken it"
    yield Reason(Cause.FINISHED, message, since=facts.finished_at)


def _assigned(case: Case) -> Iterator[Reason]:
    facts = case.facts
    if facts.state == TaskState.ASSIGNED and facts.assigned_at is not None and facts.deadline is not None:
        held = f"worker {facts.worker_label} has held it since {_utc(facts.assigned_at)}"
        due = f"attempt {facts.attempt} times out at {_utc(facts.deadline)} without a result or a sign of life"
        yield Reason(Cause.ASSIGNED, f"{held}; {due}", since=facts.assigned_at, until=facts.deadline)


def _paused(case: Case) -> Iterator[Reason]:
    if case.is_pending and case.pause is not None:
        by = f" by {case.pause.by}" if case.pause.by else ""
        since = f" since {_utc(case.pause.since)}" if case.pause.since else ""
        note = f" ({case.pause.note})" if case.pause.note else ""
        message = f"queue {case.facts.name} has been paused{by}{since}{note}"
        yield Reason(Cause.PAUSED, message, since=case.pause.since)


def _delayed(case: Case) -> Iterator[Reason]:
    """After the first attempt nothing but an error's backoff delays a task."""
    facts = case.facts
    until = facts.delayed_until
    if not case.is_pending or until is None:
        return
    over = ", which has come: the next poll makes it ready" if until <= case.now else ""
    if facts.attempt:
        error = f" ({_excerpt(facts.error)})" if facts.error else ""
        message = f"after the error in attempt {facts.attempt}{error} it is tried again at {_utc(until)}{over}"
        yield Reason(Cause.BACKOFF, message, since=facts.ended_at, until=until)
    else:
        yield Reason(Cause.DELAYED, f"it is delayed until {_utc(until)}{over}", facts.created_at, until)


def _limited(case: Case) -> Iterator[Reason]:
    if not case.facts.is_ready:
        return
    for limit in case.limits:
        if not limit.is_reached:
            continue
        run = f"{limit.running} of {limit.allowed}"
        runs = "runs" if limit.running == 1 else "run"
        if limit.key is None:
            message = f"its queue {case.facts.name} is at its limit: {run} {runs}"
        elif limit.running >= limit.allowed:
            message = f"{run} {_tasks(limit.allowed)} of concurrency key {limit.key} {runs}"
        else:
            before = f"{'' if limit.is_exact else 'more than '}{limit.before} {_tasks(limit.before)}"
            message = (
                f"{before} of concurrency key {limit.key} {'comes' if limit.before == 1 else 'come'} before it"
            )
        yield Reason(Cause.CONCURRENCY, message, case.facts.ready_since)


def _unmatched(case: Case) -> Iterator[Reason]:
    candidates, _ = case.tiers()
    if not case.is_pending or candidates:
        return
    draining = sum(verdict.worker.is_draining for verdict in case.verdicts)
    matching = sum(verdict.standing is Standing.DRAINING for verdict in case.verdicts)
    since = case.facts.ready_since
    if matching:
        those = "the only worker that matches drains" if matching == 1 else f"all {matching} that match drain"
        yield Reason(Cause.DRAINING, f"{those} ({_counted(case)})", since)
    elif len(case.verdicts) == draining:
        also = f"; {_are(draining, 'draining')}" if draining else ""
        yield Reason(Cause.NO_WORKER, f"no worker is online{also}", since)
    else:
        nearest = nearest_miss(case.verdicts)
        near = f"; the nearest is {nearest.worker}: {nearest.message}" if nearest else ""
        yield Reason(Cause.NO_MATCH, f"no worker matches ({_counted(case)}){near}", since)


def _full(case: Case) -> Iterator[Reason]:
    allowed, lower = case.tiers()
    candidates = [verdict.worker for tier in allowed for verdict in tier]
    if not case.is_pending or not candidates or any(worker.has_room for worker in candidates):
        return
    since = case.facts.ready_since
    those = f"candidate {candidates[0]} is" if len(candidates) == 1 else f"all {len(candidates)} candidates are"
    held = f"{sum(w.outstanding for w in candidates)} of {sum(w.max_outstanding for w in candidates)} outstanding"
    spill_after_seconds = case.facts.spill_after_seconds
    others = f"; without spill_after {_are(len(lower[0]), 'too unspecific')}" if lower else ""
    message = f"{those} full ({held}){others if spill_after_seconds is None else ''}"
    yield Reason(Cause.FULL, message, since)
    if lower and spill_after_seconds:
        at = case.facts.waiting_since + timedelta(seconds=spill_after_seconds * len(allowed))
        message = f"from {_utc(at)} on {_are(len(lower[0]), 'less specific')} and may take it"
        yield Reason(Cause.SPILL, message, since, until=at)


def _behind(case: Case) -> Iterator[Reason]:
    foreseen = case.foreseen
    if foreseen is None or foreseen.worker is not None:
        return
    allowed, _ = case.tiers()
    has_room = any(verdict.worker.has_room for tier in allowed for verdict in tier)
    is_limited = any(limit.is_reached for limit in case.limits)
    message = foreseen.ahead_in_words if foreseen.ahead else "its turn comes after others that are given out first"
    if foreseen.ahead or (has_room and not is_limited):
        yield Reason(Cause.BEHIND, message, case.facts.ready_since)


def _ready(case: Case) -> Iterator[Reason]:
    for verdict in case.verdicts:
        if verdict.standing is Standing.CHOSEN:
            message = f"worker {verdict.worker} {verdict.message}"
            yield Reason(Cause.READY, message, case.facts.ready_since)


LOOKS: Sequence[Callable[[Case], Iterator[Reason]]] = (
    _ended,
    _assigned,
    _paused,
    _delayed,
    _limited,
    _unmatched,
    _full,
    _behind,
    _ready,
)
"""Each finds what alone would explain where the task is, in the order in which a reader has to deal with them.
Whatever else comes to hold tasks back is one more, with its facts in the case."""


def _counted(case: Case) -> str:
    return f"{_workers(len(case.verdicts))}: {', '.join(group.message for group in case.groups)}"


def _tasks(number: int) -> str:
    return "task" if number == 1 else "tasks"


def _workers(number: int) -> str:
    return "1 worker" if number == 1 else f"{number} workers"


def _are(number: int, what: str) -> str:
    return f"{_workers(number)} {'is' if number == 1 else 'are'} {what}"


def _excerpt(text: str, length: int = 200) -> str:
    return text if len(text) <= length else f"{text[:length]}…"


def _utc(time: datetime) -> str:
    return as_rfc3339(time, "seconds")
