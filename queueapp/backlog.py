"""What waits, route by route: counted in the index of ready tasks, and bounded, however much it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec

from queueapp import database, statements
from queueapp.domain.supply import Demand
from queueapp.ready import READY
from queueapp.statements import NAMED

ROUTES = 10_000
COUNTED_TASKS = 100_000
"""Of all the routes together, and once more of the largest of them."""

_attrs = msgspec.json.Decoder(dict[str, str]).decode
"""Python's own takes ten times as long, which is tens of milliseconds for ten thousand routes."""


@dataclass(frozen=True, slots=True)
class Backlog:
    """The routes with tasks that wait for a worker, the largest first; not `is_complete` where there are more."""

    routes: Sequence[Demand]
    is_complete: bool

    @property
    def is_exact(self) -> bool:
        return self.is_complete and all(route.is_exact for route in self.routes)


def read() -> Backlog:
    """A route of which more waits than its share of what is counted reads as that share or more."""
    share = COUNTED_TASKS // ROUTES
    rows = statements.execute(_all_with_ready_tasks(share), [database.adapt(UUID(int=0)), ROUTES])
    large = [row[0] for row in rows if row[3] == share]
    demands = _demands(rows, share)
    if large and (larger := COUNTED_TASKS // len(large)) > share:
        demands = [demand for demand in demands if demand.is_exact]
        demands += _demands(statements.rows_of(large, _of_these(larger)), larger)
    demands.sort(key=lambda demand: -demand.waiting)
    return Backlog(demands, len(rows) < ROUTES)


def _demands(rows: Sequence[tuple[Any, str, str, int]], share: int) -> list[Demand]:
    """Without those whose tasks were taken meanwhile."""
    return [Demand(name, _attrs(attrs), number, number < share) for _, name, attrs, number in rows if number]


def newest_routes(limit: int) -> list[Demand]:
    """Whatever became of their tasks."""
    rows = statements.execute(
        f"SELECT route.name, {_TEXT} FROM queueapp_route AS route ORDER BY route.created_at DESC LIMIT %s", [limit]
    )
    return [Demand(name, _attrs(attrs)) for name, attrs in rows]


_TEXT = "CAST(route.attrs AS text)"


def _columns(share: int) -> str:
    return f"""
        route.id, route.name, {_TEXT}, (SELECT COUNT(*) FROM (
            SELECT 1 FROM queueapp_task AS task WHERE task.route_id = route.id AND {READY} LIMIT {share}
        ) AS counted)
        """


def _all_with_ready_tasks(share: int) -> str:
    """One step in the index for each route, however many tasks it has, and as many as its share to count them."""
    following = f"""
        SELECT task.route_id FROM queueapp_task AS task WHERE {READY} AND task.route_id > {{}}
        ORDER BY task.route_id LIMIT 1
        """
    return f"""
        WITH RECURSIVE step(id) AS (
            SELECT ({following.format("%s")})
            UNION ALL
            SELECT ({following.format("step.id")}) FROM step WHERE step.id IS NOT NULL
        )
        SELECT {_columns(share)} FROM step JOIN queueapp_route AS route ON route.id = step.id LIMIT %s
        """


def _of_these(share: int) -> str:
    return f"SELECT {_columns(share)} FROM queueapp_route AS route WHERE route.id IN ({NAMED})"
