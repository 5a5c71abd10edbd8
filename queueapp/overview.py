"""What operators see first: whether work flows, who does it, and what is wrong, in words.

Read from indexes and bounded, however many tasks there are: a number that ends at its bound says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from django.db.models import Count

from queueapp import database, rollups, statements
from queueapp.domain import spreads
from queueapp.domain.explanation import Explanation
from queueapp.domain.names import route_in_words
from queueapp.domain.reasons import Cause
from queueapp.domain.states import SessionState
from queueapp.domain.times import as_rfc3339
from queueapp.domain.verdicts import Standing
from queueapp.explaining import explain_task
from queueapp.models import Node, Queue, Subscription, Task, WorkerSession
from queueapp.ready import IN_ORDER, READY, routes_with_ready_tasks
from queueapp.rollups import COUNTED_ROWS, ROUTES, Counted, Point
from queueapp.statements import NAMED

QUEUES = 100
WORKERS = 100
"""How many are shown: the queues in which most waits, the workers that hold most."""

EXPLAINED_ROUTES = 10
WAITING_IS_WRONG_AFTER = timedelta(seconds=5)
"""What waits for less than that flows."""

RATE_WINDOW = timedelta(minutes=1)
FAILURES_WINDOW = timedelta(minutes=5)

RANGES = {
    "5m": (timedelta(minutes=5), 10, 10),
    "1h": (timedelta(hours=1), 10, 10),
    "6h": (timedelta(hours=6), 60, 60),
    "24h": (timedelta(hours=24), 60, 300),
    "7d": (timedelta(days=7), 3600, 3600),
    "30d": (timedelta(days=30), 3600, 7200),
}
"""How far back, the length of the rows that are read, and that of a step, in seconds: a few hundred points."""


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits on a route. `first`: the task whose turn is next, which has waited since `since`."""

    name: str
    attrs: dict[str, str]
    waiting: int
    first: UUID
    since: datetime


@dataclass(frozen=True, slots=True)
class Backlogs:
    """Of at most `ROUTES` routes, each counted up to `share`; `is_exact` where that was all."""

    routes: Sequence[Backlog]
    is_exact: bool

    @property
    def waiting(self) -> int:
        return sum(route.waiting for route in self.routes)

    @property
    def oldest_since(self) -> datetime | None:
        return min((route.since for route in self.routes), default=None)


def backlogs() -> Backlogs:
    ids = routes_with_ready_tasks(None, ROUTES)
    return backlogs_of(ids, len(ids) < ROUTES)


def backlogs_of(ids: Sequence[UUID], are_all: bool) -> Backlogs:
    """Of these routes, at most `ROUTES`."""
    share = COUNTED_ROWS // max(1, len(ids))
    of_route = f"FROM queueapp_task AS task WHERE task.route_id = route.id AND {READY}"
    first = f"(SELECT {{}} {of_route} ORDER BY {IN_ORDER} LIMIT 1)"
    rows = statements.rows_of(
        ids,
        f"""
        SELECT route.name, route.attrs, (SELECT COUNT(*) FROM (SELECT 1 {of_route} LIMIT {share}) AS counted),
            {first.format("task.id")}, {first.format("task.waiting_since")}
        FROM queueapp_route AS route WHERE route.id IN ({NAMED})
        """,
    )
    routes = [
        Backlog(name, database.as_json(attrs), waiting, database.as_uuid(task_id), database.as_datetime(since))
        for name, attrs, waiting, task_id, since in rows
        if task_id is not None  # taken since the routes were read
    ]
    return Backlogs(routes, are_all and all(route.waiting < share for route in routes))


def snapshot(now: datetime, problems: Sequence[Problem], waiting: Backlogs) -> dict[str, Any]:
    """All that the page shows of this moment, for JSON."""
    workers = _workers()
    return {
        "at": _text(now),
        "now": _now(now, waiting, workers),
        "problems": [asdict(problem) for problem in problems],
        "queues": _queues(now, waiting),
        "workers": [_worker(each) for each in workers[:WORKERS]],
        "workers_left_out": max(0, len(workers) - WORKERS),
    }


def _now(now: datetime, waiting: Backlogs, workers: Sequence[_Worker]) -> dict[str, Any]:
    oldest = waiting.oldest_since
    return {
        **_rates(rollups.history(10, now - RATE_WINDOW, 10)[-6:], 10),
        "waiting": waiting.waiting,
        "waiting_is_exact": waiting.is_exact,
        "oldest_wait_seconds": None if oldest is None else max(0.0, (now - oldest).total_seconds()),
        "assigned": sum(worker.outstanding for worker in workers),
        "workers_online": sum(worker.state == SessionState.ONLINE for worker in workers),
        "workers_draining": sum(worker.state == SessionState.DRAINING for worker in workers),
        "nodes": Node.objects.running().filter(lease_until__gte=now).count(),
    }


def _rates(points: Sequence[Point], interval_seconds: int) -> dict[str, Any]:
    counted = Counted()
    for point in points:
        counted.add(point.counted)
    return _figures(counted, interval_seconds * max(1, len(points)))


def _figures(counted: Counted, seconds: float) -> dict[str, Any]:
    return {
        "submitted": counted.submitted / seconds,
        "finished": counted.finished / seconds,
        "failed": counted.failed / seconds,
        "wait_p50": spreads.quantile(counted.waits, 0.5),
        "wait_p95": spreads.quantile(counted.waits, 0.95),
        "end_p50": spreads.quantile(counted.ends, 0.5),
        "end_p95": spreads.quantile(counted.ends, 0.95),
    }


def past(range_name: str, now: datetime) -> dict[str, Any]:
    """The curves of one of the RANGES, for JSON. Where no process lived there are no points."""
    length, interval_seconds, step_seconds = RANGES[range_name]
    points = rollups.history(interval_seconds, now - length, step_seconds)
    return {
        "range": range_name,
        "from": (now - length).timestamp(),
        "to": now.timestamp(),
        "step": step_seconds,
        "points": [
            {
                "at": point.begins_at.timestamp(),
                "waiting": point.waiting,
                "oldest_wait": point.oldest_wait_seconds,
                **_figures(point.counted, _lasted(point, step_seconds, now)),
            }
            for point in points
        ],
    }


def _lasted(point: Point, step_seconds: int, now: datetime) -> float:
    """The last step is not over yet."""
    return max(10.0, min(step_seconds, (now - point.begins_at).total_seconds()))


# ---- queues and workers


class _Worker(NamedTuple):
    outstanding: int
    id: UUID
    name: str
    state: str
    max_outstanding: int
    connected_at: datetime
    version: str


def _workers() -> list[_Worker]:
    """Those that are attached, the busiest first."""
    outstanding = Task.objects.outstanding_by_session()
    rows = WorkerSession.objects.attached().values_list(
        "id", "name", "state", "max_outstanding", "connected_at", "version"
    )
    workers = [_Worker(outstanding.get(row[0], 0), *row) for row in rows]
    return sorted(workers, key=lambda worker: (-worker.outstanding, worker.name, worker.id))


def _worker(worker: _Worker) -> dict[str, Any]:
    return {
        "id": str(worker.id),
        "name": worker.name or f"…{worker.id.hex[-10:]}",
        "state": worker.state,
        "outstanding": worker.outstanding,
        "max_outstanding": worker.max_outstanding,
        "connected_at": _text(worker.connected_at),
        "version": worker.version,
    }


def _queues(now: datetime, waiting: Backlogs) -> list[dict[str, Any]]:
    """Those in which most waits, then by name."""
    waits: dict[str, list[Backlog]] = {}
    for route in waiting.routes:
        waits.setdefault(route.name, []).append(route)
    assigned = dict(Task.objects.filter(worker__isnull=False).order_by().values_list("name").annotate(Count("id")))
    offers = dict(
        Subscription.objects.of_attached_sessions()
        .filter(session__state=str(SessionState.ONLINE))
        .order_by()
        .values_list("name")
        .annotate(Count("session", distinct=True))
    )
    busy = sorted(waits.keys() | assigned.keys())
    rows = {queue.name: queue for queue in Queue.objects.filter(name__in=busy)}
    rows |= {queue.name: queue for queue in Queue.objects.order_by("name")[: max(0, QUEUES - len(rows))]}
    shown = [_queue(queue, now, waits, assigned, offers, waiting.is_exact) for queue in rows.values()]
    return sorted(shown, key=lambda queue: (-queue["waiting"], queue["name"]))[:QUEUES]


def _queue(
    queue: Queue,
    now: datetime,
    waits: dict[str, list[Backlog]],
    assigned: dict[str, int],
    offers: dict[str, int],
    is_exact: bool,
) -> dict[str, Any]:
    routes = waits.get(queue.name, [])
    oldest = min((route.since for route in routes), default=None)
    workers = offers.get(queue.name, 0)
    return {
        "name": queue.name,
        "waiting": sum(route.waiting for route in routes),
        "waiting_is_exact": is_exact,
        "oldest_wait_seconds": None if oldest is None else max(0.0, (now - oldest).total_seconds()),
        "assigned": assigned.get(queue.name, 0),
        "concurrency": queue.concurrency,
        "workers": workers,
        "health": health(queue, now, oldest, workers),
        "pause": pause_text(queue),
    }


def health(queue: Queue, now: datetime, oldest: datetime | None, workers: int) -> str:
    if queue.paused:
        return "paused"
    if oldest is not None and not workers:
        return "no worker"
    if oldest is not None and now - oldest > WAITING_IS_WRONG_AFTER:
        return "waits"
    return "flows" if workers else "idle"


def pause_text(queue: Queue) -> str:
    """`by ada: upstream is down`; nothing for a queue that is not paused."""
    by = f"by {queue.paused_by}" if queue.paused_by else "by somebody"
    return f"{by}: {queue.note}" if queue.paused and queue.note else by if queue.paused else ""


# ---- what is wrong


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: what, and why, in words. `since` as text; `task` names one that it concerns."""

    text: str
    cause: str
    since: str | None = None
    name: str = ""
    task: str = ""
    why: str = ""


def problems(now: datetime, waiting: Backlogs) -> list[Problem]:
    """What waits too long; then what failed."""
    return [*waits_too_long(now, waiting), *_failures(now)]


def waits_too_long(now: datetime, waiting: Backlogs) -> list[Problem]:
    """The largest first, as the dispatcher explains the task whose turn is next."""
    wrong = [route for route in waiting.routes if now - route.since > WAITING_IS_WRONG_AFTER]
    wrong.sort(key=lambda route: (-route.waiting, route.since))
    tasks = Task.objects.select_related("route").in_bulk([route.first for route in wrong[:EXPLAINED_ROUTES]])
    found = [
        _waits(route, explain_task(tasks[route.first], None, now))
        for route in wrong[:EXPLAINED_ROUTES]
        if route.first in tasks
    ]
    if more := wrong[EXPLAINED_ROUTES:]:
        number = sum(route.waiting for route in more)
        found.append(Problem(f"{_tasks(number)} more wait, on {len(more)} other routes", "more"))
    return found


def _waits(route: Backlog, explanation: Explanation) -> Problem:
    what = f"{_tasks(route.waiting)} {route_in_words(route.name, route.attrs)}"
    reason = next(iter(explanation.reasons), None)
    why = _why(explanation) or (reason.message if reason else explanation.summary)
    cause = str(reason.cause) if reason else "waits"
    verb = "waits" if route.waiting == 1 else "wait"
    return Problem(f"{what} {verb}: {why}", cause, _text(route.since), route.name, str(route.first), why)


def _why(explanation: Explanation) -> str | None:
    """The plainest way to say that no worker matches, where one criterion alone is in the way of all who offer."""
    if not any(reason.cause is Cause.NO_MATCH for reason in explanation.reasons):
        return None
    offering = [verdict for verdict in explanation.verdicts if verdict.standing is not Standing.NAME]
    if not offering:
        return f"no worker offers {explanation.facts.name}"
    failed = {miss.criterion for verdict in offering for miss in verdict.misses if miss.value is not None}
    if len(failed) == 1 and all(len(verdict.misses) == 1 for verdict in offering):
        (criterion,) = failed
        return f"no worker accepts {criterion}={explanation.facts.attrs[criterion]}"
    return None


def _failures(now: datetime) -> Iterable[Problem]:
    failed = sum(p.counted.failed for p in rollups.history(10, now - FAILURES_WINDOW, 10))
    if failed:
        yield Problem(f"{_tasks(failed)} failed in the last 5 minutes", "failed")


def _tasks(number: int) -> str:
    return "1 task" if number == 1 else f"{number} tasks"


def _text(time: datetime) -> str:
    return as_rfc3339(time, "milliseconds")
