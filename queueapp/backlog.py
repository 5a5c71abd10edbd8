"""What waits, route by route: counted in the index of ready tasks, and bounded, however much it is."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from uuid import UUID

from queueapp import database, statements
from queueapp.domain.supply import Demand
from queueapp.models import Route
from queueapp.ready import READY, routes_with_ready_tasks
from queueapp.statements import NAMED

ROUTES = 10_000
COUNTED_TASKS = 100_000
"""Twice: for all of the routes together, and once more for the largest of them."""


@dataclass(frozen=True, slots=True)
class Backlog:
    """The routes with tasks that wait for a worker, the largest first; not `is_complete` where there are more."""

    routes: Sequence[Demand]
    is_complete: bool

    @property
    def waiting(self) -> int:
        return sum(route.waiting for route in self.routes)

    @property
    def is_exact(self) -> bool:
        return self.is_complete and all(route.is_exact for route in self.routes)


def read() -> Backlog:
    """A route of which more waits than its share of what is counted reads as that share or more."""
    ids = routes_with_ready_tasks(None, ROUTES)
    share = _share(ids)
    routes = _counted(ids, share)
    large = [route_id for route_id, route in routes.items() if route.waiting == share]
    if large and _share(large) > share:
        routes |= _counted(large, _share(large))
    waiting = [route for route in routes.values() if route.waiting]  # the others were taken meanwhile
    return Backlog(sorted(waiting, key=_largest_first), len(ids) < ROUTES)


def newest_routes(limit: int) -> list[Demand]:
    """Of whatever became of their tasks."""
    rows = Route.objects.order_by("-created_at").values_list("name", "attrs")[:limit]
    return [Demand(name, attrs) for name, attrs in rows]


def _largest_first(route: Demand) -> tuple[int, str, list[tuple[str, str]]]:
    return -route.waiting, route.name, sorted(route.attrs.items())


def _share(routes: Collection[UUID]) -> int:
    return COUNTED_TASKS // max(1, len(routes))


def _counted(ids: Collection[UUID], share: int) -> dict[UUID, Demand]:
    rows = statements.rows_of(
        ids,
        f"""
        SELECT route.id, route.name, route.attrs, (SELECT COUNT(*) FROM (
            SELECT 1 FROM queueapp_task AS task WHERE task.route_id = route.id AND {READY} LIMIT {share}
        ) AS counted)
        FROM queueapp_route AS route WHERE route.id IN ({NAMED})
        """,
    )
    return {
        database.as_uuid(route_id): Demand(name, database.as_json(attrs), waiting, waiting < share)
        for route_id, name, attrs, waiting in rows
    }
