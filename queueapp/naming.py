"""Queues come to be when a task, a worker or an operator first names them.

Their names are in the order of the characters' numbers, as Python has them, whatever the database's own order is.
So they were before this was one verb, and servers of that version run beside this one while they are replaced: two
who met crosswise would wait for each other.
"""

from __future__ import annotations

from collections.abc import Iterable

from queueapp import database, statements
from queueapp.statements import Given

_NAMES = Given("named", name="text")


def make_queues(names: Iterable[str]) -> None:
    """A row for each name; those that exist are left alone."""
    statements.execute(f"WITH {_NAMES.table} {insertion_from('named')}", [_NAMES.rows((name,) for name in names)])


def insertion_from(table: str) -> str:
    """The SQL that makes those that the rows of a table name. Of those that are there not even the conflict is
    sought: it would wait for whoever is changing one."""
    by_number = 'COLLATE "C"' if database.is_postgresql() else ""
    return f"""
        INSERT INTO queueapp_queue (name, paused, paused_by, note)
        SELECT name, false, '', '' FROM {table}
        WHERE NOT EXISTS (SELECT 1 FROM queueapp_queue AS queue WHERE queue.name = {table}.name)
        GROUP BY name ORDER BY name {by_number}
        ON CONFLICT DO NOTHING
        """
