"""`/metrics`: Prometheus' text. What this process has done, and gauges read from the rows of all processes."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Iterator
from time import monotonic
from typing import Any

from django.db import connection
from django.db.models import Count
from django.http import HttpResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from rest_framework.permissions import AllowAny
from rest_framework.request import Request

from queueapp import statements
from queueapp.api.base import ApiView
from queueapp.api.permissions import IsOperator
from queueapp.api.schema.describing import Answer, described
from queueapp.conf import config
from queueapp.counters import PREFIX, registry, shown
from queueapp.database import DATABASE_AWAY, now
from queueapp.domain.states import SessionState
from queueapp.models import Node, WorkerSession
from queueapp.ready import READY, routes_with_ready_tasks
from queueapp.statements import NAMED

logger = logging.getLogger(__name__)

KEPT_SECONDS = 5.0
"""However often it is scraped, the rows are counted no more often."""

ROWS = 100_000
"""Counted at most for one gauge: some ten milliseconds. A backlog that is larger reads as about that."""
ROUTES = 1000
"""Of which ready tasks are counted, each with an equal share of the rows."""

PAGE = Answer({"type": "string"}, "The text format of Prometheus.", media_types=("text/plain",))


class Metrics(ApiView):
    """Open to all, as scrapers are used to, unless WORKQUEUE_METRICS_NEED_KEY is set: then it takes an operator's
    key. It shows the names of tasks."""

    @described("Read the metrics", {200: PAGE}, refuses=[401, 403, 429], open_to_all=True)
    def get(self, request: Request) -> HttpResponse:
        return HttpResponse(generate_latest(registry) + generate_latest(_rows), content_type=CONTENT_TYPE_LATEST)

    def get_authenticators(self) -> list[Any]:
        return super().get_authenticators() if config().metrics_need_key else []

    def get_permissions(self) -> list[Any]:
        return [IsOperator() if config().metrics_need_key else AllowAny()]

    def perform_content_negotiation(self, request: Request, force: bool = False) -> Any:
        """`Accept` speaks of the metrics; what DRF renders here is errors."""
        return super().perform_content_negotiation(request, force=True)


class _Rows:
    """Gauges of the whole queue, the same from every process."""

    def __init__(self) -> None:
        self._counting = threading.Lock()
        self._counted: list[Metric] = []
        self._fresh_until = 0.0

    def collect(self) -> Iterator[Metric]:
        with self._counting:
            if monotonic() >= self._fresh_until:
                self._counted = _count_rows()
                self._fresh_until = monotonic() + KEPT_SECONDS
        return iter(self._counted)

    def forget(self) -> None:
        self._fresh_until = 0.0


_rows = _Rows()


def _count_rows() -> list[Metric]:
    """With the database away, that it is: what the process itself has counted is shown all the same."""
    reachable = GaugeMetricFamily(PREFIX + "database_reachable", "Whether the rows could be counted.")
    try:
        counted = [_tasks(), _workers(), _nodes()]
    except DATABASE_AWAY as error:
        logger.warning("The rows could not be counted for /metrics: %s", error)
        connection.close()
        counted = []
    reachable.add_metric([], bool(counted))
    return [reachable, *counted]


def _tasks() -> Metric:
    """Those that are live: each state has a partial index, and terminal ones are never looked at."""
    help = f"Live tasks: ready, held back by their key, delayed or assigned. At most {ROWS} of each are counted."
    gauge = GaugeMetricFamily(PREFIX + "tasks", help, labels=["name", "state"])
    counted = {
        "ready": _ready(),
        "held_back": _by_name(
            "state = 'pending' AND delayed_until IS NULL AND concurrency_key IS NOT NULL AND held_back"
        ),
        "delayed": _by_name("delayed_until IS NOT NULL"),
        "assigned": _by_name("worker_id IS NOT NULL"),
    }
    for state, rows in counted.items():
        numbers: Counter[str] = Counter()
        for name, number in rows:
            numbers[shown(name)] += number
        for name, number in numbers.items():
            gauge.add_metric([name, state], number)
    return gauge


def _ready() -> list[tuple[Any, ...]]:
    routes = routes_with_ready_tasks(None, ROUTES)
    share = ROWS // max(1, len(routes))
    return statements.rows_of(
        routes,
        f"""
        SELECT route.name, (
            SELECT COUNT(*) FROM (
                SELECT 1 FROM queueapp_task AS task
                WHERE task.route_id = route.id AND {READY}
                LIMIT {share}
            ) AS counted
        ) FROM queueapp_route AS route WHERE route.id IN ({NAMED})
        """,
    )


def _by_name(condition: str) -> list[tuple[Any, ...]]:
    some = f"SELECT name FROM queueapp_task WHERE {condition} LIMIT {ROWS}"
    return statements.execute(f"SELECT name, COUNT(*) FROM ({some}) AS counted GROUP BY name")


def _workers() -> Metric:
    gauge = GaugeMetricFamily(PREFIX + "workers", "Attached workers of all processes.", labels=["state"])
    counted = dict(WorkerSession.objects.attached().order_by().values_list("state").annotate(Count("id")))
    for state in (SessionState.ONLINE, SessionState.DRAINING):
        gauge.add_metric([str(state)], counted.get(str(state), 0))
    return gauge


def _nodes() -> Metric:
    number = Node.objects.running().filter(lease_until__gte=now()).count()
    return GaugeMetricFamily(PREFIX + "nodes", "Server processes that are alive.", value=number)
