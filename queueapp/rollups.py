"""What each process has done and seen, written an interval a row, and read as the past of all of them.

A process writes rows of its own, with all that it has counted in their interval so far: to write them once more,
because nobody knows whether a commit came through, changes nothing, and no process waits for another. Who dies
takes what it counted in its last ten seconds along.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from queueapp import counters, database, statements
from queueapp.domain import spreads
from queueapp.domain.payloads import json_text
from queueapp.domain.states import TaskState
from queueapp.models import Rollup
from queueapp.ready import IN_ORDER, READY
from queueapp.statements import Given

logger = logging.getLogger(__name__)

KEPT = {10: timedelta(hours=1), 60: timedelta(days=2), 3600: timedelta(days=31)}
"""For how long rows are kept, by the length of their interval in seconds."""

SHORTEST_SECONDS = min(KEPT)
PRUNE_EVERY = timedelta(minutes=10)

COUNTED_ROWS = 20_000
"""Waiting tasks that are counted at most: a few milliseconds. A larger backlog reads as that."""
ROUTES = 200
"""Of whose first tasks the one that has waited longest is looked for."""

_ROLLUPS = Given(
    "given",
    interval_seconds="integer",
    begins_at="timestamptz",
    node_id="uuid",
    submitted="bigint",
    finished="bigint",
    failed="bigint",
    waits="text",
    ends="text",
)


@dataclass(slots=True)
class Counted:
    """In one interval, or since the process has started."""

    submitted: int = 0
    finished: int = 0
    failed: int = 0
    waits: Counter[int] = field(default_factory=Counter)
    ends: Counter[int] = field(default_factory=Counter)

    @classmethod
    def so_far(cls) -> Counted:
        return cls(
            counters.submitted.total(),
            counters.finished.total(),
            counters.finished.total(str(TaskState.FAILED)),
            counters.waits.so_far(),
            counters.ends.so_far(),
        )

    def since(self, earlier: Counted) -> Counted:
        return Counted(
            self.submitted - earlier.submitted,
            self.finished - earlier.finished,
            self.failed - earlier.failed,
            self.waits - earlier.waits,
            self.ends - earlier.ends,
        )

    def add(self, more: Counted) -> None:
        self.submitted += more.submitted
        self.finished += more.finished
        self.failed += more.failed
        self.waits.update(more.waits)
        self.ends.update(more.ends)


Interval = tuple[int, datetime]
"""Its length in seconds, and when it begins."""


class Rollups:
    """Of one process, used by its database thread."""

    def __init__(self, node_id: UUID, counted_before: Counted | None = None) -> None:
        """`counted_before`: what this process had counted when it began to serve (None: until now)."""
        self._node_id = node_id
        self._so_far = Counted.so_far() if counted_before is None else counted_before
        self._intervals: list[Interval] = []
        """In which that began which is not counted into one yet, since the first tick."""
        self._counted: dict[Interval, Counted] = {}
        self._unwritten: set[Interval] = set()
        self._pruned_at: datetime | None = None

    def tick(self, now: datetime) -> None:
        """Write the intervals, once the shortest is over; else, now and then, delete what was kept long enough.
        Never more than one statement, and mostly none. Work goes on whatever becomes of it."""
        if not self._intervals:
            self._intervals = _intervals_of(now)
        with carrying_on():
            if floor(now, SHORTEST_SECONDS) != self._intervals[0][1] or self._unwritten:
                self._write(now)
            elif self._pruned_at is None:
                self._pruned_at = now
            elif now >= self._pruned_at + PRUNE_EVERY:
                self._pruned_at = now
                _prune(now)

    def end(self, now: datetime) -> None:
        """The process ends, perhaps before its first tick."""
        self._intervals = self._intervals or _intervals_of(now)
        with carrying_on():
            self._write(now)

    def _write(self, now: datetime) -> None:
        """All that was counted until now, in the intervals in which that began."""
        so_far = Counted.so_far()
        more, self._so_far = so_far.since(self._so_far), so_far
        for interval in self._intervals:
            self._counted.setdefault(interval, Counted()).add(more)
        self._unwritten.update(self._intervals)
        self._intervals = _intervals_of(now)
        _write([self._row(interval) for interval in sorted(self._unwritten)], now)
        self._unwritten.clear()
        self._counted = {each: self._counted[each] for each in self._intervals if each in self._counted}

    def _row(self, interval: Interval) -> tuple[Any, ...]:
        counted = self._counted[interval]
        spread = [json_text(spreads.as_json(each)) for each in (counted.waits, counted.ends)]
        return *interval, self._node_id, counted.submitted, counted.finished, counted.failed, *spread


@contextmanager
def carrying_on() -> Iterator[None]:
    try:
        yield
    except Exception:
        logger.warning("What was counted could not be written; it is tried again.", exc_info=True)


def _intervals_of(time: datetime) -> list[Interval]:
    """The shortest first."""
    return [(seconds, floor(time, seconds)) for seconds in sorted(KEPT)]


def floor(time: datetime, seconds: int) -> datetime:
    return datetime.fromtimestamp(time.timestamp() // seconds * seconds, UTC)


def _write(rows: list[tuple[Any, ...]], now: datetime) -> None:
    json, largest = ("::jsonb", "GREATEST") if database.is_postgresql() else ("", "MAX")
    following = f"SELECT task.route_id FROM queueapp_task AS task WHERE {READY} AND task.route_id > {{}}"
    following += " ORDER BY task.route_id LIMIT 1"
    none = database.adapt(UUID(int=0))
    statements.execute(
        f"""
        WITH RECURSIVE {_ROLLUPS.table}, route(id) AS (
            SELECT ({following.format("%s")})
            UNION ALL
            SELECT ({following.format("route.id")}) FROM route WHERE route.id IS NOT NULL
        ), line AS (
            SELECT (
                SELECT task.waiting_since FROM queueapp_task AS task
                WHERE task.route_id = route.id AND {READY} ORDER BY {IN_ORDER} LIMIT 1
            ) AS since
            FROM route WHERE route.id IS NOT NULL LIMIT {ROUTES}
        ), sample AS (
            SELECT
                (SELECT COUNT(*) FROM (
                    SELECT 1 FROM queueapp_task AS task WHERE {READY} AND task.route_id > %s LIMIT {COUNTED_ROWS}
                ) AS ready) AS waiting,
                (SELECT COALESCE(MAX({database.elapsed_seconds("line.since")}), 0) FROM line) AS oldest
        )
        INSERT INTO queueapp_rollup (
            interval_seconds, begins_at, node_id, submitted, finished, failed, waits, ends,
            waiting, oldest_wait_seconds
        )
        SELECT interval_seconds, begins_at, node_id, submitted, finished, failed, waits{json}, ends{json},
            waiting, {largest}(oldest, 0)
        FROM given CROSS JOIN sample WHERE true
        ON CONFLICT (interval_seconds, begins_at, node_id) DO UPDATE SET
            submitted = excluded.submitted, finished = excluded.finished, failed = excluded.failed,
            waits = excluded.waits, ends = excluded.ends,
            waiting = {largest}(queueapp_rollup.waiting, excluded.waiting),
            oldest_wait_seconds = {largest}(queueapp_rollup.oldest_wait_seconds, excluded.oldest_wait_seconds)
        """,
        [_ROLLUPS.rows(rows), none, none, database.adapt(now)],
    )


def _prune(now: datetime) -> None:
    old = " OR ".join("(interval_seconds = %s AND begins_at < %s)" for _ in KEPT)
    bounds = [(seconds, database.adapt(now - kept)) for seconds, kept in KEPT.items()]
    statements.execute(f"DELETE FROM queueapp_rollup WHERE {old}", [each for bound in bounds for each in bound])


# ---- what is read


@dataclass(slots=True)
class Point:
    """All processes together, in one interval."""

    begins_at: datetime
    counted: Counted
    waiting: int = 0
    oldest_wait_seconds: float = 0.0


def history(interval_seconds: int, since: datetime, step_seconds: int) -> list[Point]:
    """The rows of that interval, put together into steps of as many seconds, in order. Steps in which no process
    lived are left out."""
    points: dict[datetime, Point] = {}
    rows = Rollup.objects.filter(interval_seconds=interval_seconds, begins_at__gte=floor(since, step_seconds))
    for row in rows.order_by("begins_at").iterator():
        begins_at = floor(row.begins_at, step_seconds)
        point = points.setdefault(begins_at, Point(begins_at, Counted()))
        spread = (spreads.from_json(each) for each in (row.waits, row.ends))
        point.counted.add(Counted(row.submitted, row.finished, row.failed, *spread))
        point.waiting = max(point.waiting, row.waiting)
        point.oldest_wait_seconds = max(point.oldest_wait_seconds, row.oldest_wait_seconds)
    return list(points.values())
