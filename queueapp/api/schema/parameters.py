"""Parameters that several calls share, and lists, which all come in pages."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from queueapp.api.pagination import DEFAULT_LIMIT, MAX_LIMIT
from queueapp.api.schema.describing import Answer, F, comma_list, described, query
from queueapp.api.schema.words import (
    STORABLE,
    Schema,
    error_group,
    identifier,
    one_of,
    task_name,
    text,
    time,
    whole,
)
from queueapp.domain.names import ATTRIBUTE_NAME_LENGTH, ATTRIBUTE_VALUE_LENGTH
from queueapp.domain.states import TaskState

PAGES = [
    query("limit", whole(minimum=1, maximum=MAX_LIMIT, default=DEFAULT_LIMIT), "How many on a page."),
    query("cursor", text(), "A place in the list: follow `next` and `previous`, which have it."),
]

ATTRIBUTES = {
    "name": "attributes",
    "in": "query",
    "description": "`attr.<criterion>=value`, as many as wanted: tasks with these attributes.",
    "style": "form",
    "explode": True,
    "schema": {
        "type": "object",
        "propertyNames": {"pattern": rf"^attr\.[^\u0000]{{1,{ATTRIBUTE_NAME_LENGTH}}}$"},
        "additionalProperties": {"type": "string", "maxLength": ATTRIBUTE_VALUE_LENGTH, "pattern": STORABLE},
    },
}
TASK_FILTERS = [
    comma_list("state", one_of(TaskState)),
    comma_list("name", task_name()),
    query("worker", identifier(), "What it holds, and what has ended on it."),
    query("created_after", time(), "This time is included."),
    query("created_before", time(), "This time is not."),
    query("tag", text(), "Those that have it."),
    query("error_group", error_group(), "Those that have failed with an error of this group."),
    ATTRIBUTES,
]


def lists(summary: str, component: str, order: str, filters: Iterable[Schema] = ()) -> Callable[[F], F]:
    """`@described` for a list; a cursor that is not one of it is a 404."""
    page = Answer(f"{component}Page", order)
    return described(summary, {200: page}, parameters=[*filters, *PAGES], refuses=[404])
