"""What waits against who is there to take it, as a page tells it: read with a few bounded questions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from queueapp import backlog, roster, statements
from queueapp.domain import coverage as tables
from queueapp.domain.coverage import Missing, Row, Table
from queueapp.domain.spelling import Suggestion
from queueapp.domain.supply import Covered, Shadow, Supply, cover, shadows
from queueapp.domain.verdicts import Worker
from queueapp.models import Queue

KNOWN_ROUTES = 10_000
"""Those with waiting tasks, and the newest."""
NAMES = 1000
TABLE_ROWS = 40
TABLE_COLUMNS = 40
ROUTES_SHOWN = 50
FOUND_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Coverage:
    """`routes` are those with waiting tasks, those without a worker first, then the largest. `unoffered`: names of
    queues that no online worker offers; `unsubmitted`: names that workers offer, and of which no task is known.
    `is_complete` is false where there was more than could be looked at."""

    table: Table
    missing: Sequence[Missing]
    missing_left_out: int
    routes: Sequence[Covered]
    routes_left_out: int
    shadows: Sequence[Shadow]
    shadows_left_out: int
    unoffered: Sequence[Row]
    unoffered_left_out: int
    unsubmitted: Sequence[str]
    unsubmitted_left_out: int
    suggestions: Sequence[Suggestion]
    workers: int
    waiting: int
    known_routes: int
    is_exact: bool
    is_complete: bool


def read(search: str = "") -> Coverage:
    """Of all names, or of those that contain the text."""
    supply = Supply(roster.attached())
    waiting = backlog.read()
    covered = cover(waiting.routes, supply)
    known = [*waiting.routes, *backlog.newest_routes(max(0, KNOWN_ROUTES - len(waiting.routes)))]
    in_shadow = [each for each in shadows(known, supply) if _offers(each.worker, search)]
    rows = [row for row in tables.rows_of(covered, supply) if search in row.name]
    missing = tables.missing_values(rows)
    queues = _queues(search)
    shown = [each for each in covered if search in each.demand.name]
    shown.sort(key=lambda each: not each.has_no_worker)  # otherwise the largest stay first
    by_name = {row.name: row for row in rows}
    unoffered = [row for row in rows if not row.workers]
    unoffered += [Row(name) for name in queues if name not in by_name]
    unsubmitted = _without_routes([row.name for row in rows if row.workers and not row.waiting])
    submitted = sorted(({*queues, *by_name}) - set(unsubmitted))
    misspelt = tables.suggestions([row.name for row in unoffered], unsubmitted, submitted, supply)
    return Coverage(
        table=tables.table_of(rows, TABLE_ROWS, TABLE_COLUMNS),
        missing=missing[:FOUND_SHOWN],
        missing_left_out=max(0, len(missing) - FOUND_SHOWN),
        routes=shown[:ROUTES_SHOWN],
        routes_left_out=max(0, len(shown) - ROUTES_SHOWN),
        shadows=in_shadow[:FOUND_SHOWN],
        shadows_left_out=max(0, len(in_shadow) - FOUND_SHOWN),
        unoffered=unoffered[:FOUND_SHOWN],
        unoffered_left_out=max(0, len(unoffered) - FOUND_SHOWN),
        unsubmitted=unsubmitted[:FOUND_SHOWN],
        unsubmitted_left_out=max(0, len(unsubmitted) - FOUND_SHOWN),
        suggestions=[*misspelt, *tables.criteria_suggestions(shown, supply)],
        workers=len(supply.workers),
        waiting=sum(row.waiting for row in rows),
        known_routes=len(known),
        is_exact=waiting.is_exact,
        is_complete=waiting.is_complete and not supply.is_exhausted,
    )


def _offers(worker: Worker, search: str) -> bool:
    return any(search in subscription.name for subscription in worker.offers)


def _queues(search: str) -> list[str]:
    """The names of queues, as many as are compared."""
    rows = Queue.objects.order_by("name").values_list("name", flat=True)
    return list((rows.filter(name__contains=search) if search else rows)[:NAMES])


def _without_routes(names: Sequence[str]) -> list[str]:
    """Those of the names of which there was never a task: its route would be kept."""
    looked_up = names[:NAMES]
    rows = statements.execute(
        f"""
        WITH {_NAMES.table}
        SELECT name FROM given
        WHERE NOT EXISTS (SELECT 1 FROM queueapp_route AS route WHERE route.name = given.name)
        """,
        [_NAMES.rows((name,) for name in looked_up)],
    )
    return sorted(name for (name,) in rows)


_NAMES = statements.Given("given", name="text")
