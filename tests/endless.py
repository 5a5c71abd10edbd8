"""Statements that only their deadline ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection

from queueapp.database import is_postgresql

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n WHERE i < 0"

OWN_DEADLINE = """
    SELECT setting::integer > 0 AND setting <> reset_val FROM pg_settings WHERE name = 'statement_timeout'
    """
"""Whether statements have another than the connection's."""


@contextmanager
def endless(is_slow: Callable[[str, Any], bool]) -> Iterator[None]:
    """In the place of the statements that, with their parameters, are said to be slow is one that has no end. With
    PostgreSQL its deadline comes at once, so that what is not slow may have a far one. SQLite looks at the clock
    only after many steps, which nothing else here takes."""

    def execute_it(execute: Callable[..., Any], sql: str, parameters: Any, many: bool, context: Any) -> Any:
        if not is_slow(sql, parameters):
            return execute(sql, parameters, many, context)
        if is_postgresql():
            execute(OWN_DEADLINE, None, False, context)
            (has_one,) = context["cursor"].fetchone()
            assert has_one, f"has no deadline of its own: {sql}"
            execute("SET LOCAL statement_timeout = 1", None, False, context)
        return execute(ENDLESS, (), many, context)

    with connection.execute_wrapper(execute_it):
        yield
