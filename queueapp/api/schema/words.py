"""The words in which shapes are put: a few JSON Schemas, and how to make more of them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from queueapp.domain.filter_values import UNGROUPED
from queueapp.domain.names import TASK_NAME

Schema = dict[str, Any]

JSON = "application/json"

STORABLE = r"^[^\u0000]*$"
"""PostgreSQL keeps no NUL."""


def ref(component: str) -> Schema:
    return {"$ref": f"#/components/schemas/{component}"}


def text(description: str = "") -> Schema:
    return said(description, {"type": "string"})


def text_to_keep(description: str, longest: int, shortest: int = 0) -> Schema:
    """Text that comes in."""
    return said(description, {"type": "string", "minLength": shortest, "maxLength": longest, "pattern": STORABLE})


def number(description: str = "", **limits: float) -> Schema:
    return said(description, {"type": "number", **limits})


def whole(description: str = "", **limits: int) -> Schema:
    return said(description, {"type": "integer", **limits})


def boolean(description: str = "") -> Schema:
    return said(description, {"type": "boolean"})


def time(description: str = "") -> Schema:
    return said(description, {"type": "string", "format": "date-time"})


def identifier(description: str = "") -> Schema:
    return said(description, {"type": "string", "format": "uuid"})


def error_group(description: str = "") -> Schema:
    """As the filter of tasks takes it."""
    return said(description, {"anyOf": [identifier(), {"const": UNGROUPED}]})


def task_name(description: str = "") -> Schema:
    return said(description, {"type": "string", "pattern": f"^{TASK_NAME.pattern}$"})


def one_of(values: Iterable[str], description: str = "") -> Schema:
    return said(description, {"type": "string", "enum": sorted(map(str, values))})


def array_of(item: Schema, description: str = "", **limits: int) -> Schema:
    return said(description, {"type": "array", "items": item, **limits})


def strings(description: str = "", **limits: Any) -> Schema:
    """An object whose values are strings."""
    return said(description, {"type": "object", "additionalProperties": {"type": "string"}, **limits})


def anything(description: str = "") -> Schema:
    return said(description, {})


def or_null(schema: Schema) -> Schema:
    if "enum" in schema:
        schema = {**schema, "enum": [*schema["enum"], None]}
    return {**schema, "type": [schema["type"], "null"]}


def shape(description: str, /, **members: Schema) -> Schema:
    """An object that goes out: it has all of the members."""
    return {
        "type": "object",
        "description": description,
        "required": list(members),
        "properties": members,
    }


def closed(description: str, required: Collection[str], members: dict[str, Schema]) -> Schema:
    """An object that comes in: it has no other members."""
    needed = {"required": list(required)} if required else {}
    return {
        "type": "object",
        "description": description,
        **needed,
        "properties": members,
        "additionalProperties": False,
    }


def page_of(component: str) -> Schema:
    link = or_null({"type": "string", "format": "uri"})
    return shape(
        "A page of a list. Follow `next` until it is null.",
        next=said("The address of the next page.", link),
        previous=said("The address of the page before.", link),
        results=array_of(ref(component)),
    )


def said(description: str, schema: Schema) -> Schema:
    return {**schema, "description": description} if description else schema
