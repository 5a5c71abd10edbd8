"""The plans of what is asked, as SQLite writes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import connection


def plans_of(question: Callable[[], Any], *tables: str) -> list[str]:
    """Of each statement over one of the tables that the question asks, in their order, with its own parameters."""
    asked: list[tuple[str, Any]] = []

    def note(execute: Any, sql: str, parameters: Any, many: bool, context: Any) -> Any:
        if any(table in sql for table in tables):
            asked.append((sql, parameters))
        return execute(sql, parameters, many, context)

    with connection.execute_wrapper(note):
        question()
    return [_plan_of(sql, parameters) for sql, parameters in asked]


def _plan_of(sql: str, parameters: Any) -> str:
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN QUERY PLAN {sql}", parameters)
        return "\n".join(row[-1] for row in cursor.fetchall())
