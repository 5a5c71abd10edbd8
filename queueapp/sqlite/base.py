"""Django's SQLite, whose writers in one process take turns.

SQLite has one writer at a time, and lets whoever meets another sleep, for 1 to 100 ms, and look again. A
submission that met the hub, which under load writes one transaction after another, lost that race again and
again, and slept on when the other had long gone. Within a process writers wait in line instead, and are woken
at once: of 4,000 tasks a second the slowest hundredth was with a worker after 645 ms, and is after 65. Those of
other processes still meet in SQLite.
"""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from datetime import datetime
from typing import Any, ClassVar

from django.db import OperationalError
from django.db.backends.sqlite3 import base

from queueapp.sqlite.turns import Turns

DEFAULT_TIMEOUT_SECONDS = 5.0
"""Python's own, where the settings say none."""


def _time(stored: bytes) -> datetime:
    """In UTC, as Django writes them (`TIME_ZONE`). What it reads has no zone, and gets one from whoever needs it:
    that took twice as long as reading it, five times for each task."""
    return datetime.fromisoformat(stored.decode() + "+00:00")


sqlite3.register_converter("datetime", _time)


class DatabaseWrapper(base.DatabaseWrapper):
    """The turn is taken before BEGIN IMMEDIATE and handed on when the transaction is over, in whatever way.

    Django calls these four for that, and its type stubs leave them out.
    """

    _turns: ClassVar[defaultdict[str, Turns]] = defaultdict(Turns)
    """By the name of the file."""

    _turn: Turns | None = None

    def _start_transaction_under_autocommit(self) -> None:
        turns = self._turns[str(self.settings_dict["NAME"])]
        if not turns.take(self.settings_dict["OPTIONS"].get("timeout", DEFAULT_TIMEOUT_SECONDS)):
            raise OperationalError("database is locked")
        self._turn = turns
        try:
            super()._start_transaction_under_autocommit()  # type: ignore[misc]
        except BaseException:
            self._hand_on()
            raise

    def _commit(self) -> Any:
        """One that fails is rolled back, and only then over."""
        super()._commit()  # type: ignore[misc]
        self._hand_on()

    def _rollback(self) -> Any:
        try:
            super()._rollback()  # type: ignore[misc]
        finally:
            self._hand_on()

    def _close(self) -> Any:
        try:
            super()._close()  # type: ignore[misc]
        finally:
            self._hand_on()

    def _hand_on(self) -> None:
        if self._turn is not None:
            turn, self._turn = self._turn, None
            turn.hand_on()
