"""How queues stand now: what waits in them and who works, for their pages. Read from indexes and bounded, as the
overview, however many tasks there are."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.db.models import Count

from queueapp import database, statements
from queueapp.domain.states import Outcome, SessionState
from queueapp.models import Queue, Subscription, Task
from queueapp.overview import Backlog, Backlogs, backlogs, backlogs_of, health, pause_text, waits_too_long
from queueapp.ready import READY
from queueapp.rollups import ROUTES

ROUTES_LOOKED_AT = 10_000
"""Of one name, in search of those with tasks that wait: some ten microseconds each."""
HELD_BACK_COUNTED = 10_000
ROUTES_SHOWN = 20
EXPLAINED_ROUTES = 5

PAUSE_LENGTH = 100
ATTEMPTS_LOOKED_AT = 2_000
"""The latest, of all queues, in search of those of one that went wrong."""
ERRORS_SHOWN = 20
ERRORS_SINCE = timedelta(hours=1)
_WENT_WRONG = ", ".join(f"'{outcome}'" for outcome in (Outcome.ERROR, Outcome.LOST, Outcome.TIMEOUT))


@dataclass(frozen=True, slots=True)
class Standing:
    """`waiting`: what a worker could take now, at least so much where it `is_exact` not. `workers` are online and
    offer the name. `oldest_since`: since when the task has waited that is first in its route."""

    health: str
    waiting: int
    is_exact: bool
    oldest_since: datetime | None
    assigned: int
    workers: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """A route in which something waits, and why, in words, of those that are explained."""

    route: Backlog
    why: str = ""


@dataclass(frozen=True, slots=True)
class Mishap:
    """An attempt that ended badly."""

    attempt_id: int
    task_id: UUID
    outcome: str
    ended_at: datetime
    error: str


def standings(queues: Sequence[Queue], now: datetime) -> dict[str, Standing]:
    """Of each of the queues, in a few queries for all of them."""
    return _standings(queues, backlogs(), now)


def standing(queue: Queue, now: datetime) -> tuple[Standing, Backlogs]:
    """Of one queue, with its routes in which something waits, those first in which most does."""
    waiting = _backlogs_of_name(queue.name)
    waiting = Backlogs(sorted(waiting.routes, key=lambda route: (-route.waiting, route.since)), waiting.is_exact)
    return _standings([queue], waiting, now)[queue.name], waiting


def pause_line(queue: Queue) -> str:
    """Since when a paused queue is, by whom and why, in one line; nothing of another."""
    if not queue.paused:
        return ""
    since = f"since {queue.paused_at.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z " if queue.paused_at else ""
    words = " ".join(pause_text(queue)[: 2 * PAUSE_LENGTH].split())
    return since + (words if len(words) <= PAUSE_LENGTH else f"{words[:PAUSE_LENGTH]}…")


def why_it_waits(waiting: Backlogs, now: datetime) -> list[Waiting]:
    """The first routes, a few of them with the reason why what waits long does so."""
    first = Backlogs(waiting.routes[:EXPLAINED_ROUTES], waiting.is_exact)
    why = {problem.task: problem.why for problem in waits_too_long(now, first)}
    return [Waiting(route, why.get(str(route.first), "")) for route in waiting.routes[:ROUTES_SHOWN]]


def held_back(name: str) -> int:
    """How many wait behind others of their concurrency key, counted up to a bound."""
    [(count,)] = statements.execute(
        f"""
        SELECT COUNT(*) FROM (
            SELECT 1 FROM queueapp_task WHERE name = %s AND concurrency_key IS NOT NULL
                AND state = 'pending' AND delayed_until IS NULL AND held_back
            LIMIT {HELD_BACK_COUNTED}
        ) AS counted
        """,
        [name],
    )
    return count


def mishaps(name: str, now: datetime) -> list[Mishap]:
    """What went wrong in a queue in the last hour, the latest first; of the latest attempts of all queues."""
    rows = statements.execute(
        f"""
        SELECT latest.id, task.id, latest.outcome, latest.ended_at, latest.error
        FROM (
            SELECT id, task_id, outcome, ended_at, SUBSTR(error, 1, 500) AS error FROM queueapp_attempt
            ORDER BY id DESC LIMIT {ATTEMPTS_LOOKED_AT}
        ) AS latest JOIN queueapp_task AS task ON task.id = latest.task_id
        WHERE task.name = %s AND latest.ended_at >= %s AND latest.outcome IN ({_WENT_WRONG})
        ORDER BY latest.id DESC LIMIT {ERRORS_SHOWN}
        """,
        [name, database.adapt(now - ERRORS_SINCE)],
    )
    return [
        Mishap(attempt_id, database.as_uuid(task_id), outcome, database.as_datetime(ended_at), error)
        for attempt_id, task_id, outcome, ended_at, error in rows
    ]


def _standings(queues: Sequence[Queue], waiting: Backlogs, now: datetime) -> dict[str, Standing]:
    names = [queue.name for queue in queues]
    assigned, workers = _assigned(names), _workers(names)
    found = {}
    for queue in queues:
        routes = [route for route in waiting.routes if route.name == queue.name]
        oldest = min((route.since for route in routes), default=None)
        offering = workers.get(queue.name, 0)
        found[queue.name] = Standing(
            health(queue, now, oldest, offering),
            sum(route.waiting for route in routes),
            waiting.is_exact,
            oldest,
            assigned.get(queue.name, 0),
            offering,
        )
    return found


def _backlogs_of_name(name: str) -> Backlogs:
    """The name's routes are looked at one by one: a name may have many in which nothing waits any more."""
    known = f"SELECT id FROM queueapp_route WHERE name = %s LIMIT {ROUTES_LOOKED_AT}"
    rows = statements.execute(
        f"""
        SELECT id FROM (
            SELECT route.id, (
                SELECT 1 FROM queueapp_task AS task WHERE task.route_id = route.id AND {READY} LIMIT 1
            ) AS waits
            FROM ({known}) AS route
        ) AS looked_at WHERE waits IS NOT NULL LIMIT {ROUTES}
        """,
        [name],
    )
    [(looked_at,)] = statements.execute(f"SELECT COUNT(*) FROM ({known}) AS route", [name])
    are_all = len(rows) < ROUTES and looked_at < ROUTES_LOOKED_AT
    return backlogs_of([database.as_uuid(row[0]) for row in rows], are_all)


def _assigned(names: Collection[str]) -> dict[str, int]:
    held = Task.objects.filter(worker__isnull=False, name__in=names).order_by().values_list("name")
    return dict(held.annotate(Count("id")))


def _workers(names: Collection[str]) -> dict[str, int]:
    offers = Subscription.objects.of_attached_sessions().filter(name__in=names)
    online = offers.filter(session__state=str(SessionState.ONLINE)).order_by().values_list("name")
    return dict(online.annotate(Count("session", distinct=True)))
