"""What each process has done for each queue, a minute a row, for an hour: the curves of a queue's page.

As `rollups`: a process writes rows of its own, and to write them once more changes nothing. Of a queue in which
nothing happens nothing is written, and of a process that does nothing no statement is asked.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db.models import Sum

from queueapp import counters, statements
from queueapp.domain.states import TaskState
from queueapp.models import QueueRollup
from queueapp.rollups import PRUNE_EVERY, carrying_on, floor
from queueapp.statements import Given

MINUTE_SECONDS = 60
KEPT = timedelta(hours=1)
WRITTEN_WITHIN = timedelta(seconds=15)
"""After its end a minute is written by all processes that have something of it: each looks once a pass."""

_ROWS = Given(
    "given",
    name="text",
    begins_at="timestamptz",
    node_id="uuid",
    submitted="bigint",
    finished="bigint",
    failed="bigint",
)


@dataclass(slots=True)
class _Counted:
    """By name, since the process has started."""

    submitted: Counter[str] = field(default_factory=counters.submitted.by_name)
    finished: Counter[str] = field(default_factory=counters.finished.by_name)
    failed: Counter[str] = field(default_factory=lambda: counters.finished.by_name(str(TaskState.FAILED)))


class QueueRollups:
    """Of one process, used by its database thread."""

    def __init__(self, node_id: UUID) -> None:
        self._node_id = node_id
        self._so_far = _Counted()
        self._minute: datetime | None = None
        self._unwritten: list[tuple[Any, ...]] = []
        self._pruned_at: datetime | None = None

    def tick(self, now: datetime) -> None:
        """Once a minute is over, write what happened in it. Work goes on whatever becomes of it."""
        minute = floor(now, MINUTE_SECONDS)
        if self._minute is None:
            self._minute = minute
        elif minute != self._minute:
            self._close()
            self._minute = minute
            self._write(now)

    def end(self, now: datetime) -> None:
        """The process ends, perhaps before its first tick."""
        self._minute = self._minute or floor(now, MINUTE_SECONDS)
        self._close()
        self._write(now)

    def _close(self) -> None:
        before, self._so_far = self._so_far, _Counted()
        more = [
            getattr(self._so_far, kind) - getattr(before, kind) for kind in ("submitted", "finished", "failed")
        ]
        names = sorted(set().union(*more) - {counters.OTHERS})
        self._unwritten += [(name, self._minute, self._node_id, *(each[name] for each in more)) for name in names]

    def _write(self, now: datetime) -> None:
        self._unwritten = [row for row in self._unwritten if row[1] > now - KEPT]
        if not self._unwritten:
            return
        with carrying_on():
            _write(self._unwritten)
            self._unwritten = []
            if self._pruned_at is None or now >= self._pruned_at + PRUNE_EVERY:
                self._pruned_at = now
                QueueRollup.objects.filter(begins_at__lt=now - KEPT).delete()


def _write(rows: list[tuple[Any, ...]]) -> None:
    statements.execute(
        f"""
        WITH {_ROWS.table}
        INSERT INTO queueapp_queuerollup (name, begins_at, node_id, submitted, finished, failed)
        SELECT name, begins_at, node_id, submitted, finished, failed FROM given WHERE true
        ON CONFLICT (name, begins_at, node_id) DO UPDATE SET
            submitted = excluded.submitted, finished = excluded.finished, failed = excluded.failed
        """,
        [_ROWS.rows(rows)],
    )


def past(name: str, now: datetime) -> dict[str, Any]:
    """The last hour of a queue in tasks a second, all processes together, for JSON. A minute in which nothing
    happened is one of zeros. What only looks like that is left out: the first, of which rows may be deleted
    already, and the last, until every process has had time to write it."""
    since = floor(now - KEPT, MINUTE_SECONDS) + timedelta(seconds=MINUTE_SECONDS)
    until = floor(now - WRITTEN_WITHIN, MINUTE_SECONDS)
    rows = QueueRollup.objects.filter(name=name, begins_at__gte=since, begins_at__lt=until)
    sums = rows.order_by().values_list("begins_at").annotate(Sum("submitted"), Sum("finished"), Sum("failed"))
    counted = {begins_at: numbers for begins_at, *numbers in sums}
    length = int((until - since).total_seconds())
    minutes = [since + timedelta(seconds=at) for at in range(0, length, MINUTE_SECONDS)]
    return {
        "from": since.timestamp(),
        "to": until.timestamp(),
        "step": MINUTE_SECONDS,
        "points": [
            {
                "at": minute.timestamp(),
                **{
                    kind: number / MINUTE_SECONDS
                    for kind, number in zip(
                        ("submitted", "finished", "failed"), counted.get(minute, (0, 0, 0)), strict=True
                    )
                },
            }
            for minute in minutes
        ],
    }
