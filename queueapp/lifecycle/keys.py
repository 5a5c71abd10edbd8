"""Concurrency keys: which of the tasks that wait for a key's room are let through to the dispatcher.

A task with a key is held back from its submission on, and again when an attempt of it ends, so that however many
wait for a key, nobody who looks for ready tasks steps over them. Each change of a key's tasks is noted in its own
transaction; whoever dispatches next reads the notes and lets through those whose turn it is (`queueapp.limits`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from uuid import UUID

from queueapp import doorbell, statements
from queueapp.statements import Given

DUE = "task.state = 'pending' AND task.delayed_until IS NULL"
"""Ready, but for being held back. Literals, so that SQLite knows the partial indexes to apply."""

_CHANGED = Given("changed", name="text", key="text")
_MARKS = Given("mark", task_id="uuid", held="boolean")


def note_keys(keys: Iterable[tuple[str, str | None]]) -> None:
    """Have the next dispatcher look at these keys: tasks of them have come, ended or gone. (Names with no key are
    left out.)

    Part of the transaction of that change: a slot that is free is never forgotten, whoever dies.
    """
    changed = {each for each in keys if each[1] is not None}
    if changed:
        statements.execute(
            f"""
            WITH {_CHANGED.table}
            INSERT INTO queueapp_changedkey (name, key, each_route) SELECT name, key, false FROM changed
            """,
            [_CHANGED.rows(changed)],
        )
        doorbell.ring(keys=True)


def note_waiting_keys(name: str) -> None:
    """Have it look at all keys of the queue for which tasks are held back: how many may run has changed."""
    statements.execute(
        """
        INSERT INTO queueapp_changedkey (name, key, each_route)
        SELECT DISTINCT task.name, task.concurrency_key, false FROM queueapp_task AS task
        WHERE task.name = %s AND task.concurrency_key IS NOT NULL AND task.held_back
        """,
        [name],
    )
    doorbell.ring(keys=True)


def mark(let_through: Collection[UUID], held_back: Collection[UUID]) -> None:
    """Make the former ready and the latter not, of those that are still pending.

    The caller holds the dispatch lock, under which it has counted what runs. One statement, so that the tasks
    are locked in the order of their ids.
    """
    rows = [(task_id, False) for task_id in let_through] + [(task_id, True) for task_id in held_back]
    if rows:
        statements.execute(
            _MARKS.update_tasks("held_back = mark.held", DUE, "id"),
            [_MARKS.rows(rows)],
        )
