"""What the database is asked, as the code says it. What the driver sent is not always known: the server keeps
plans, and several statements may go at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection


@contextmanager
def asking() -> Iterator[list[str]]:
    """The statements that this thread runs meanwhile, each in one line, without their parameters."""
    asked: list[str] = []

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        asked.append(" ".join(sql.split()))
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        yield asked
