"""Tasks by their ids, as their producers read them. The statements and the rows are written out: to put them
together takes the ORM six times as long as all the rest, and who waits for a task asks for it twice."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS, models

from queueapp import database, statements
from queueapp.auth import KEY_COLUMNS, key_of_row
from queueapp.models import ApiKey, Route, Task
from queueapp.statements import NAMED, Given

_FIELDS = Task._meta.concrete_fields
_NAMES = [field.attname for field in _FIELDS]
_COLUMNS = f"{', '.join(f'task.{field.column}' for field in _FIELDS)}, route.attrs"
_TABLES = "queueapp_task AS task JOIN queueapp_route AS route ON route.id = task.route_id"
_BY_ID = f"SELECT {_COLUMNS} FROM {_TABLES} WHERE task.id = %s"
_OF_KEY = 1 + len(KEY_COLUMNS)
_DIGEST = 1 + KEY_COLUMNS.index("digest")
_ASKED = Given("asked", task_id="uuid", digest="text")
_WITH_KEYS = f"""
    {", ".join(f"apikey.{column}" for column in KEY_COLUMNS)}, {_COLUMNS}
    FROM asked JOIN queueapp_apikey AS apikey ON apikey.digest = asked.digest AND apikey.revoked_at IS NULL
    JOIN queueapp_task AS task ON task.id = asked.task_id
    JOIN queueapp_route AS route ON route.id = task.route_id
    """


def _converter(field: models.Field[Any, Any]) -> Callable[[Any], Any]:
    """From what the driver has to what the column is."""
    match field.target_field if isinstance(field, models.ForeignKey) else field:
        case models.UUIDField():
            return database.as_uuid
        case models.DateTimeField():
            return database.as_datetime
        case models.JSONField():
            return database.as_json
        case models.BooleanField():
            return bool
    return lambda value: value


_CONVERTERS = [_converter(field) for field in _FIELDS]


def task_by_id(task_id: UUID) -> Task | None:
    """The task with its route, or None."""
    rows = statements.execute(_BY_ID, [database.adapt(task_id)])
    return _task(rows[0]) if rows else None


def tasks_by_id(task_ids: Iterable[UUID]) -> dict[UUID, Task]:
    """Those of the tasks that there are, with their routes."""
    rows = statements.rows_of(task_ids, f"SELECT {_COLUMNS} FROM {_TABLES} WHERE task.id IN ({NAMED})")
    return {task.id: task for task in map(_task, rows)}


def tasks_with_keys(
    asked: Iterable[tuple[UUID, str]], largest_bytes: int
) -> dict[tuple[UUID, str], tuple[Task, ApiKey]]:
    """Tasks with their routes, each with the key by whose digest it is asked for. Neither those that there are not
    nor those whose key is unknown or revoked, nor those whose data or result is larger. Nobody notes that the keys
    are used."""
    found: dict[tuple[UUID, str], tuple[Task, ApiKey]] = {}
    keys: dict[str, ApiKey] = {}
    sizes = (database.octets(f"COALESCE({column}, '')") for column in ("task.data", "task.result"))
    are_small = " AND ".join(f"{size} <= {largest_bytes}" for size in sizes)
    statement = f"WITH {_ASKED.table} SELECT {database.clock()}, {_WITH_KEYS} WHERE {are_small}"
    for row in statements.execute(statement, [_ASKED.rows(asked)]):
        task, digest = _task(row[_OF_KEY:]), row[_DIGEST]
        if digest not in keys:
            keys[digest] = key_of_row(*row[:_OF_KEY])
        found[task.id, digest] = task, keys[digest]
    return found


def _task(row: Sequence[Any]) -> Task:
    *values, attrs = row
    read = zip(_CONVERTERS, values, strict=True)
    task = Task.from_db(
        DEFAULT_DB_ALIAS, _NAMES, [value if value is None else convert(value) for convert, value in read]
    )
    task.route = Route(id=task.route_id, name=task.name, attrs=database.as_json(attrs))
    return task
