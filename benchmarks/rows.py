"""The queue's tables, read and filled without the server: to see what is durable, and to make backlogs."""

from __future__ import annotations

import sqlite3
from typing import Any
from urllib.parse import urlsplit

import psycopg


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
