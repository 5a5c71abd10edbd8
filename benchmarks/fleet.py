"""What operators look at: tasks in every state, over the last day, and workers that hold some of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from benchmarks.rows import PENDING, ROUTE_COLUMNS, SUCCEEDED, TASK, Rows

NAMES = ("tag", "collect", "image:resize", "image:scan", "report", *(f"name{number}" for number in range(15)))
CLOUDS = ("aws", "gcp", "azure")
"""No worker accepts the last one."""
ERRORS = (
    "Connection timeout after 30 s",
    "KeyError: 'account'\n  File \"work.py\", line 7",
    "quota exceeded for project",
)
HELD_BY_ONE = 10
STUCK_SHARE = 20
"""One in so many waits, among the older half."""
ENDS = {7: "failed", 57: "failed", 307: "cancelled", 613: "expired"}
"""Of a thousand tasks these ended so; the others succeeded."""
COLUMNS = (
    *("id", "name", "route_id", "data", "result", "worker_id", "last_worker_id", "tags"),
    *("created_at", "available_at", "waiting_since", "assigned_at", "deadline", "finished_at"),
    *PENDING,
)


@dataclass(frozen=True, slots=True)
class Fleet:
    """Some of what was made: an id of each kind of row that has a page."""

    tasks: dict[str, UUID]
    worker: UUID
    queue: str


class FleetRows:
    """The rows, made from their numbers: the same in every run but for their times and random ids."""

    def __init__(self, tasks: int, workers: int) -> None:
        self.now = datetime.now(UTC)
        self.count = tasks
        self.workers = [uuid4() for _ in range(workers)]
        self.routes = {(name, cloud, n): uuid4() for name in NAMES for cloud in CLOUDS for n in range(5)}
        self.examples: dict[str, UUID] = {}

    @property
    def held(self) -> int:
        return HELD_BY_ONE * len(self.workers)

    def add_past(self, rows: Rows) -> None:
        """What nobody holds."""
        rows.insert("queueapp_queue", ("name", "paused", "paused_by", "note"), ((n, False, "", "") for n in NAMES))
        routes = (
            (id, n, json.dumps({"cloud": c, "n": str(x)}), self.now) for (n, c, x), id in self.routes.items()
        )
        rows.insert("queueapp_route", ROUTE_COLUMNS, routes)
        rows.insert("queueapp_task", COLUMNS, (self._task(number) for number in range(self.count - self.held)))
        rows.settle()

    def add_present(self, rows: Rows) -> Fleet:
        """The workers, and what they hold. They are of a process that is elsewhere, and alive for longer than the
        measurement; on SQLite, which is for one process, a server starts only before they are there."""
        self._add_workers(rows)
        numbers = range(self.count - self.held, self.count)
        rows.insert("queueapp_task", COLUMNS, (self._task(number) for number in numbers))
        rows.settle()
        return Fleet(self.examples, self.workers[0], NAMES[0])

    def _add_workers(self, rows: Rows) -> None:
        node, later = uuid4(), self.now + timedelta(days=1)
        node_columns = ("id", "host", "pid", "started_at", "lease_until")
        rows.insert("queueapp_node", node_columns, [(node, "elsewhere", 1, self.now, later)])
        rows.insert(
            "queueapp_workersession",
            (
                *("id", "name", "state", "node_id", "max_outstanding", "version", "remote", "connected_at"),
                *("idle_since", "close_reason", "stale_results"),
            ),
            (
                (id, f"w{number}", "online", node, 2 * HELD_BY_ONE, "1.0", "", self.now, self.now, "", 0)
                for number, id in enumerate(self.workers)
            ),
        )
        accepted = json.dumps({"cloud": list(CLOUDS[:-1])})
        rows.insert(
            "queueapp_subscription",
            ("session_id", "name", "filter", "extra"),
            (
                (id, NAMES[(number + k) % len(NAMES)], accepted, "{}")
                for number, id in enumerate(self.workers)
                for k in range(2)
            ),
        )

    def _task(self, number: int) -> tuple[Any, ...]:
        """The first are the oldest."""
        at = self.now - timedelta(days=1) * ((self.count - number) / self.count)
        held = number - (self.count - self.held)
        state = ENDS.get(number % 1000, "succeeded")
        if held >= 0:
            state = "assigned"
        elif number % STUCK_SHARE == 0 and number < self.count / 2:
            state = "pending"
        cloud = CLOUDS[-1] if state == "pending" else CLOUDS[number % 2]
        name = NAMES[number // STUCK_SHARE % len(NAMES)]
        task_id = _id_at(at, number)
        self.examples.setdefault(state, task_id)
        worker = self.workers[held % len(self.workers)] if state != "pending" else None
        has_ended = state not in ("pending", "assigned")
        columns = {"succeeded": SUCCEEDED, "pending": PENDING}.get(
            state, {**TASK, "attempt": 1, "attempts_used": 0}
        )
        if state == "failed":
            columns = {
                **columns,
                "reason": "error",
                "error": ERRORS[number // 50 % len(ERRORS)],
                "attempts_used": 1,
            }
        columns = {**columns, "state": state}
        return (
            *(task_id, name, self.routes[name, cloud, number % 5]),
            json.dumps({"node": {"id": f"n{number % 1000}"}, "n": number}),
            '{"ok":true}' if state == "succeeded" else None,
            *(worker if state == "assigned" else None, worker),
            json.dumps([f"t{number % 100}"]) if number % 10 == 0 else None,
            *(at, at, at),
            None if state == "pending" else at,
            self.now + timedelta(days=1) if state == "assigned" else None,
            at + timedelta(seconds=2) if has_ended else None,
            *(columns[column] for column in PENDING),
        )


def _id_at(moment: datetime, number: int) -> UUID:
    """A UUIDv7 as a server would have made it then."""
    return UUID(int=int(moment.timestamp() * 1000) << 80 | 0x7 << 76 | 0x2 << 62 | number)


def pages_of(fleet: Fleet) -> Iterator[str]:
    """The pages of single rows."""
    for task_id in fleet.tasks.values():
        yield f"/admin/queueapp/task/{task_id}/change/"
    yield f"/admin/queueapp/workersession/{fleet.worker}/change/"
    yield f"/admin/queueapp/queue/{fleet.queue}/change/"
