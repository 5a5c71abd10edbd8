"""One task by its id, as its producer reads it. The statement and the row are written out: to put them together
takes the ORM six times as long as all the rest, and who waits for a task asks for it twice."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS, models

from queueapp import database, statements
from queueapp.models import ApiKey, Route, Task

_FIELDS = Task._meta.concrete_fields
_NAMES = [field.attname for field in _FIELDS]
_COLUMNS = f"{', '.join(f'task.{field.column}' for field in _FIELDS)}, route.attrs"
_TABLES = "queueapp_task AS task JOIN queueapp_route AS route ON route.id = task.route_id"
_BY_ID = f"SELECT {_COLUMNS} FROM {_TABLES} WHERE task.id = %s"
_WITH_KEY = f"""
    SELECT apikey.role, apikey.task_globs, {_COLUMNS}
    FROM {_TABLES} JOIN queueapp_apikey AS apikey ON apikey.id = %s AND apikey.revoked_at IS NULL
    WHERE task.id = %s
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


def task_while_key_holds(task_id: UUID, key: ApiKey) -> Task | None:
    """The same, but None also if the key is revoked or not good for the same any more as when it was read."""
    for role, task_globs, *row in statements.execute(_WITH_KEY, [key.pk, database.adapt(task_id)]):
        if (role, database.as_json(task_globs)) == (key.role, key.task_globs):
            return _task(row)
    return None


def _task(row: Sequence[Any]) -> Task:
    *values, attrs = row
    read = zip(_CONVERTERS, values, strict=True)
    task = Task.from_db(
        DEFAULT_DB_ALIAS, _NAMES, [value if value is None else convert(value) for convert, value in read]
    )
    task.route = Route(id=task.route_id, name=task.name, attrs=database.as_json(attrs))
    return task
