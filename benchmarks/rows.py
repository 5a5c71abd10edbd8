"""The queue's tables, read and filled without the server: to see what is durable, to make backlogs and a past."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import psycopg
from uuid_utils.compat import uuid7

ROUTE_COLUMNS = ("id", "name", "attrs", "created_at")
TASK = {
    "priority": 0,
    "max_attempts": 4,
    "timeout_seconds": 300.0,
    "reason": "",
    "error": "",
    "progress_message": "",
    "traceparent": "",
}
PENDING = {**TASK, "state": "pending", "attempt": 0, "attempts_used": 0}
SUCCEEDED = {**TASK, "state": "succeeded", "attempt": 1, "attempts_used": 1}
ONLINE = {
    "state": "online",
    "max_outstanding": 100,
    "version": "1.0",
    "remote": "10.0.0.1",
    "close_reason": "",
    "stale_results": 0,
}


class Rows:
    """A connection to the database of a server, `postgres://…` or `sqlite:///file`."""

    def __init__(self, url: str) -> None:
        self.is_postgresql = url.startswith("postgres")
        self._connection: Any = (
            psycopg.connect(url, autocommit=True)
            if self.is_postgresql
            else sqlite3.connect(urlsplit(url).path, timeout=60, isolation_level=None)
        )

    def close(self) -> None:
        self._connection.close()

    def number(self, statement: str) -> int:
        return self._connection.execute(statement).fetchone()[0]

    def succeeded(self) -> int:
        """Tasks whose result is there. Reads the whole table: not for when the clock runs."""
        return self.number("SELECT count(*) FROM queueapp_task WHERE state = 'succeeded' AND result IS NOT NULL")

    def anything_assigned(self) -> bool:
        """From a small index, however large the table is."""
        return bool(
            self.number("SELECT count(*) FROM (SELECT 1 FROM queueapp_task WHERE deadline IS NOT NULL LIMIT 1) t")
        )

    def online_sessions(self) -> int:
        return self.number("SELECT count(*) FROM queueapp_workersession WHERE gone_at IS NULL")

    def workers(self, number: int) -> list[str]:
        """The ids of so many attached workers, the newest first."""
        rows = self._connection.execute(
            "SELECT CAST(id AS text) FROM queueapp_workersession WHERE gone_at IS NULL ORDER BY id DESC LIMIT "
            + str(number)
        )
        return [row[0] for row in rows]

    def add_backlog(self, numbers: range, names: Iterable[str], distinct: bool) -> None:
        """Pending tasks of these names that no worker of the load accepts. `distinct`: no two have the same
        attributes, so that each is a route of its own; else each name has ten routes."""
        names = list(names)
        now = datetime.now(UTC)
        routes: dict[tuple[str, str], UUID] = {}
        tasks: list[tuple[Any, ...]] = []
        for number in numbers:
            name = names[number % len(names)]
            attrs = json.dumps({"cloud": "azure", "node": str(number if distinct else number // len(names) % 10)})
            route_id = routes.setdefault((name, attrs), uuid4())
            tasks.append((uuid7(), name, route_id, '{"n":1}', now, now, now, *PENDING.values()))
        self.insert(
            "queueapp_route", ROUTE_COLUMNS, ((id, name, attrs, now) for (name, attrs), id in routes.items())
        )
        columns = ("id", "name", "route_id", "data", "created_at", "available_at", "waiting_since", *PENDING)
        self.insert("queueapp_task", columns, tasks)

    def add_past(self, number: int) -> None:
        """Tasks that succeeded, over the last days."""
        now = datetime.now(UTC)
        routes = [uuid4() for _ in range(10)]
        columns = ("id", "name", "route_id", "data", "result", "last_worker_id")
        times = ("created_at", "available_at", "waiting_since", "assigned_at", "finished_at")

        def rows() -> Iterator[tuple[Any, ...]]:
            worker = uuid4()
            for n in range(number):
                at = now - timedelta(seconds=0.1 * (number - n))
                data = f'{{"n":{n}}}'
                yield uuid7(), "bench", routes[n % 10], data, data, worker, *[at] * len(times), *SUCCEEDED.values()

        self.insert("queueapp_task", (*columns, *times, *SUCCEEDED), rows())

    def add_workers(self, number: int, name: str) -> None:
        """Attached to a process that lives on for a day, offering the name to tasks that there are none of."""
        now = datetime.now(UTC)
        node = uuid4()
        columns = ("id", "host", "pid", "started_at", "lease_until")
        self.insert("queueapp_node", columns, [(node, "elsewhere", 1, now, now + timedelta(days=1))])
        ids = [uuid7() for _ in range(number)]
        self.insert(
            "queueapp_workersession",
            ("id", "name", "node_id", "connected_at", "idle_since", *ONLINE),
            ((id, f"w{n}", node, now, now, *ONLINE.values()) for n, id in enumerate(ids)),
        )
        offer = json.dumps({"cloud": ["oci"]})
        self.insert(
            "queueapp_subscription",
            ("session_id", "name", "filter", "extra"),
            ((id, name, offer, "{}") for id in ids),
        )

    def insert(self, table: str, columns: Iterable[str], rows: Iterable[tuple[Any, ...]]) -> None:
        names = ", ".join(columns)
        if self.is_postgresql:
            with self._connection.cursor() as cursor, cursor.copy(f"COPY {table} ({names}) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
        else:
            places = ", ".join("?" for _ in columns)
            adapted = (tuple(map(_as_in_sqlite, row)) for row in rows)
            self._connection.execute("BEGIN IMMEDIATE")
            self._connection.executemany(f"INSERT INTO {table} ({names}) VALUES ({places})", adapted)
            self._connection.execute("COMMIT")

    def settle(self) -> None:
        """What the database does by itself some time after so many rows came, done now and not while the clock
        runs."""
        if self.is_postgresql:
            self._connection.execute("VACUUM ANALYZE queueapp_task, queueapp_route")
            self._connection.execute("CHECKPOINT")
        else:
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _as_in_sqlite(value: Any) -> Any:
    """As Django writes it there."""
    match value:
        case UUID():
            return value.hex
        case datetime():
            return value.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")
        case _:
            return value
