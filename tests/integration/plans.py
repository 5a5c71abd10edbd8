"""The plans of what is asked, as the database in use writes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import connection

from queueapp.database import is_postgresql


def analyse() -> None:
    """Tell the planner of the rows that are there."""
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def plans_of(question: Callable[[], Any], *words: str) -> list[str]:
    """Of the statements that the question asks, in their order: those with one of the words in them, if any are
    given. There is one at least."""
    return [plan for _, plan in explained(question, *words)]


def explained(question: Callable[[], Any], *words: str) -> list[tuple[str, str]]:
    """The statements with their plans, each with its own parameters. They are explained when all have been asked:
    what was set for the transactions of the question is over by then."""
    asked: list[tuple[str, Any]] = []

    def note(execute: Any, sql: str, parameters: Any, many: bool, context: Any) -> Any:
        if not words or any(word in sql for word in words):
            asked.append((sql, parameters))
        return execute(sql, parameters, many, context)

    with connection.execute_wrapper(note):
        question()
    assert asked
    return [(sql, _plan_of(sql, parameters)) for sql, parameters in asked]


def _plan_of(sql: str, parameters: Any) -> str:
    explain = "EXPLAIN" if is_postgresql() else "EXPLAIN QUERY PLAN"
    with connection.cursor() as cursor:
        cursor.execute(f"{explain} {sql}", parameters)
        return "\n".join(row[-1] for row in cursor.fetchall())
