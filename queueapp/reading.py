"""One task by its id, as its producer reads it. The statement and the row are written out: to put them together
takes the ORM six times as long as all the rest, and who waits for a task asks for it twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.db import DEFAULT_DB_ALIAS, models

from queueapp import database, statements
from queueapp.models import Route, Task

_FIELDS = Task._meta.concrete_fields
_NAMES = [field.attname for field in _FIELDS]
_STATEMENT = f"""
    SELECT {", ".join(f"task.{field.column}" for field in _FIELDS)}, route.attrs
    FROM queueapp_task AS task JOIN queueapp_route AS route ON route.id = task.route_id
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
    for *values, attrs in statements.execute(_STATEMENT, [database.adapt(task_id)]):
        read = zip(_CONVERTERS, values, strict=True)
        task = Task.from_db(
            DEFAULT_DB_ALIAS, _NAMES, [value if value is None else convert(value) for convert, value in read]
        )
        task.route = Route(id=task.route_id, name=task.name, attrs=database.as_json(attrs))
        return task
    return None
