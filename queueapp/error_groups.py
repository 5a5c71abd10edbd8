"""The errors of one cause together: how many there are, since when, and one of them to read.

Counted when somebody looks and not when they happen: a number that is kept would be one row that all who fail at
once wait for. Read from indexes and bounded, however many errors there are, and a number that ends at its bound
says so.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models.functions import Left

from queueapp import database, statements
from queueapp.domain.fingerprints import READ_CHARACTERS, fingerprint
from queueapp.models import Attempt, Task

WINDOWS: Mapping[str, timedelta | None] = {
    "1h": timedelta(hours=1),
    "24h": timedelta(hours=24),
    "all": None,
}

GROUPS = 50
"""That are shown: those with most errors."""
LATEST = 10_000
"""Errors among which the groups are looked for, from the last one back."""
STEPS = 500
"""Groups that are looked for one after another, whenever they were seen, where no time is given."""
COUNTED_OF_A_STEP = 200
COUNTED_ROWS = 50_000
"""Of all groups that are shown, shared between them: a few tens of milliseconds."""
TREND_STEPS = 12


@dataclass(frozen=True, slots=True)
class Tally:
    """Of the errors in the window. `final`: with how many of them a task failed; after the others it was tried
    again. `trend`: how many in each step of the window, the oldest first; None of no window."""

    errors: int = 0
    final: int = 0
    is_exact: bool = True
    trend: tuple[int, ...] | None = None

    @property
    def tried_again(self) -> int:
        return self.errors - self.final


@dataclass(frozen=True, slots=True)
class ErrorGroup:
    """`failed`: how many tasks are failed with it now, since whenever. `sample`: how the latest error begins."""

    id: UUID
    name: str
    title: str
    tally: Tally
    first_seen: datetime
    last_seen: datetime
    failed: int
    failed_is_exact: bool
    sample: str
    sample_is_cut: bool
    attempt_id: int
    task_id: UUID


@dataclass(frozen=True, slots=True)
class ErrorGroups:
    """`since`: no errors from before it were looked at, though there may be some in the window."""

    groups: Sequence[ErrorGroup]
    has_more: bool
    since: datetime | None
    ungrouped: int


def read(window: str, now: datetime) -> ErrorGroups:
    """The groups with most errors in one of the WINDOWS, the largest first."""
    length = WINDOWS[window]
    begins_at = None if length is None else now - length
    sizes, since = _sizes(begins_at)
    ids = sorted(sizes, key=lambda group: (-sizes[group], group))[:GROUPS]
    tallies = _tallies(ids, begins_at, now)
    groups = sorted(_groups(ids, tallies), key=lambda group: (-group.tally.errors, -group.last_seen.timestamp()))
    ungrouped = Task.objects.failed_in(None).order_by().values("pk")[:LATEST].count()
    return ErrorGroups(groups, len(sizes) > len(ids), since, ungrouped)


def since(moment: datetime, limit: int) -> dict[UUID, int]:
    """How many errors of each group there are since then, of so many latest ones."""
    rows = statements.execute(
        f"""
        SELECT error_group, COUNT(*) FROM (
            SELECT error_group FROM queueapp_attempt WHERE error_group IS NOT NULL AND ended_at > %s
            ORDER BY ended_at DESC LIMIT {limit}
        ) AS latest GROUP BY error_group
        """,
        [database.adapt(moment)],
    )
    return {database.as_uuid(group): number for group, number in rows}


def last_seen() -> datetime | None:
    """When the latest error was."""
    grouped = Attempt.objects.filter(error_group__isnull=False).order_by("-ended_at")
    return grouped.values_list("ended_at", flat=True).first()


def _sizes(begins_at: datetime | None) -> tuple[dict[UUID, int], datetime | None]:
    """The groups in which an error was seen since then, roughly with how many; and from when on all were seen, if
    that is later."""
    bound = "" if begins_at is None else "AND ended_at >= %s"
    rows = statements.execute(
        f"""
        SELECT error_group, COUNT(*), MIN(ended_at) FROM (
            SELECT error_group, ended_at FROM queueapp_attempt WHERE error_group IS NOT NULL {bound}
            ORDER BY ended_at DESC LIMIT {LATEST}
        ) AS latest GROUP BY error_group
        """,
        [] if begins_at is None else [database.adapt(begins_at)],
    )
    sizes = {database.as_uuid(group): size for group, size, _ in rows}
    is_cut = sum(sizes.values()) >= LATEST
    since = min(database.as_datetime(first) for *_, first in rows) if is_cut else None
    if begins_at is None:
        for group, size in _steps():
            sizes[group] = max(size, sizes.get(group, 0))
    return sizes, since


def _steps() -> list[tuple[UUID, int]]:
    """Groups of whatever age, found one after another by the index, which has all errors of a group together."""
    following = "SELECT error_group FROM queueapp_attempt WHERE {} ORDER BY error_group LIMIT 1"
    rows = statements.execute(
        f"""
        WITH RECURSIVE step(id) AS (
            SELECT ({following.format("error_group IS NOT NULL")})
            UNION ALL
            SELECT ({following.format("error_group > step.id")}) FROM step WHERE step.id IS NOT NULL
        )
        SELECT id, (SELECT COUNT(*) FROM (
            SELECT 1 FROM queueapp_attempt WHERE error_group = step.id LIMIT {COUNTED_OF_A_STEP}
        ) AS counted)
        FROM step WHERE id IS NOT NULL LIMIT {STEPS}
        """
    )
    return [(database.as_uuid(group), size) for group, size in rows]


def _tallies(ids: Sequence[UUID], begins_at: datetime | None, now: datetime) -> dict[UUID, Tally]:
    """Of each group its latest errors, up to its share of what is counted."""
    if not ids:
        return {}
    share = COUNTED_ROWS // len(ids)
    bound = "" if begins_at is None else "AND ended_at >= %s"
    latest = f"""
        SELECT * FROM (
            SELECT error_group, ended_at, is_final FROM queueapp_attempt WHERE error_group = %s {bound}
            ORDER BY ended_at DESC LIMIT {share}
        ) AS latest
        """
    step, parameters = "0", []
    if begins_at is not None:
        step = f"{database.elapsed_seconds('ended_at')} / %s"
        # PostgreSQL would round it, and not every SQLite has FLOOR.
        step = f"FLOOR({step})" if database.is_postgresql() else f"CAST({step} AS INTEGER)"
        parameters = [database.adapt(now), (now - begins_at).total_seconds() / TREND_STEPS]
    for group in ids:
        parameters += [database.adapt(group), *([] if begins_at is None else [database.adapt(begins_at)])]
    rows = statements.execute(
        f"""
        SELECT error_group, step, COUNT(*), SUM(CASE WHEN is_final THEN 1 ELSE 0 END) FROM (
            SELECT error_group, is_final, {step} AS step FROM ({" UNION ALL ".join([latest] * len(ids))}) AS errors
        ) AS steps GROUP BY error_group, step
        """,
        parameters,
    )
    found: dict[UUID, list[tuple[int, int, int]]] = {}
    for group, ago, errors, final in rows:
        found.setdefault(database.as_uuid(group), []).append((int(ago), errors, final))
    return {group: _tally(steps, share, begins_at is not None) for group, steps in found.items()}


def _tally(steps: Collection[tuple[int, int, int]], share: int, is_bounded: bool) -> Tally:
    trend = [0] * TREND_STEPS
    for ago, errors, _ in steps:
        trend[-1 - min(max(ago, 0), TREND_STEPS - 1)] += errors
    errors = sum(trend)
    final = sum(final for *_, final in steps)
    return Tally(errors, final, errors < share, tuple(trend) if is_bounded else None)


def _groups(ids: Sequence[UUID], tallies: Mapping[UUID, Tally]) -> list[ErrorGroup]:
    share = COUNTED_ROWS // max(1, len(ids))
    errors = "FROM queueapp_attempt WHERE error_group = queueapp_group.id"
    tasks = "FROM queueapp_task WHERE error_group = queueapp_group.id AND state = 'failed'"
    rows = statements.rows_of(
        ids,
        f"""
        SELECT id,
            (SELECT ended_at {errors} ORDER BY ended_at LIMIT 1),
            (SELECT ended_at {errors} ORDER BY ended_at DESC LIMIT 1),
            (SELECT queueapp_attempt.id {errors} ORDER BY ended_at DESC LIMIT 1),
            (SELECT COUNT(*) FROM (SELECT 1 {tasks} LIMIT {share}) AS counted)
        FROM (SELECT named_id AS id FROM named) AS queueapp_group
        """,
    )
    samples = _samples([attempt_id for _, _, _, attempt_id, _ in rows if attempt_id is not None])
    return [
        ErrorGroup(
            id=database.as_uuid(group),
            name=sample["task__name"],
            title=fingerprint(sample["start"]),
            tally=tallies.get(database.as_uuid(group), Tally()),
            first_seen=database.as_datetime(first),
            last_seen=database.as_datetime(last),
            failed=failed,
            failed_is_exact=failed < share,
            sample=sample["start"],
            sample_is_cut=len(sample["start"]) == READ_CHARACTERS,
            attempt_id=attempt_id,
            task_id=sample["task_id"],
        )
        for group, first, last, attempt_id, failed in rows
        if (sample := samples.get(attempt_id)) is not None  # pruned since the groups were read
    ]


def _samples(attempt_ids: Collection[int]) -> dict[int, Mapping[str, Any]]:
    rows = Attempt.objects.filter(pk__in=attempt_ids).annotate(start=Left("error", READ_CHARACTERS))
    return {row["pk"]: row for row in rows.values("pk", "task_id", "task__name", "start")}
