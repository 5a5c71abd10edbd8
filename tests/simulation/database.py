"""One SQLite database in memory for all processes, which may fail or see its client die around a transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from types import SimpleNamespace
from typing import Any

from django.core.management import call_command
from django.db import OperationalError, connections
from django.db.backends.sqlite3.base import DatabaseWrapper

from tests.simulation.loop import Killed, current_process

TABLES = ("activity", "attempt", "task", "subscription", "workersession", "route", "queue", "node")


class Faults:
    """What the database does to its clients. `failing` is the share of transactions that fail."""

    def __init__(self, random: Random, trace: Callable[[str], None]) -> None:
        self.random = random
        self.trace = trace
        self.failing = 0.0
        self.is_away = False
        self.after_commit: Callable[[], None] = lambda: None

    def before(self) -> None:
        """Of a statement or a transaction."""
        if self.is_away:
            raise OperationalError("the database is away")

    def at(self, moment: str) -> None:
        process = current_process()
        if process is None:
            return
        if not process.survives():
            raise Killed
        if self.failing and self.random.random() < self.failing:
            self.trace(f"the database fails {process.name} {moment}")
            raise OperationalError(f"simulated, {moment}")


class Database(DatabaseWrapper):
    faults: Faults | None = None

    def _cursor(self, name: str | None = None) -> Any:
        if self.faults is not None and not self.in_atomic_block and current_process() is not None:
            self.faults.before()
        return super()._cursor(name)

    def _start_transaction_under_autocommit(self) -> None:
        if self.faults is not None:
            self.faults.at("before a transaction")
        super()._start_transaction_under_autocommit()

    def _commit(self) -> None:
        super()._commit()
        if self.faults is not None:
            self.faults.after_commit()
            self.faults.at("after the commit")

    def wipe(self) -> None:
        assert not self.in_atomic_block
        for table in TABLES:
            self.connection.execute(f"DELETE FROM queueapp_{table}")
        self.connection.execute("UPDATE queueapp_apikey SET last_used_at = NULL")


@contextmanager
def in_memory() -> Iterator[Database]:
    """In place of the default database, migrated."""
    stored = connections["default"]
    options = {
        **stored.settings_dict["OPTIONS"],
        "init_command": "PRAGMA temp_store = memory",
        "cached_statements": 2000,
    }
    database = Database({**stored.settings_dict, "NAME": ":memory:", "OPTIONS": options}, alias="default")
    # Asking asgiref, again and again, whose thread or task this is took a tenth of the time.
    by_context, connections._connections = connections._connections, SimpleNamespace(default=database)
    try:
        call_command("migrate", verbosity=0)
        yield database
    finally:
        connections._connections = by_context
        database.connection.close()
