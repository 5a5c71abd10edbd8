"""Payloads as typed objects: what JSON becomes for a handler that says what it takes, and results as JSON."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

PLAIN_BY_MSGSPEC = (
    msgspec.Struct,
    datetime.datetime,
    datetime.date,
    datetime.time,
    datetime.timedelta,
    decimal.Decimal,
    enum.Enum,
    uuid.UUID,
)


def decoder(wanted: Any) -> Callable[[bytes | msgspec.Raw], Any]:
    """Reads JSON into the wanted type: what msgspec knows (structs, dataclasses, TypedDict, unions, …) and
    pydantic's models, also inside one another. It raises msgspec.ValidationError, which says what is wrong where.

    ValueError when there is no way to make such a type from JSON.
    """
    try:
        info = msgspec.inspect.type_info(wanted)
        decode = msgspec.json.Decoder(wanted, dec_hook=_converted).decode
    except TypeError as problem:
        raise ValueError(f"{name_of(wanted)} cannot be read from JSON: {problem}") from None
    for custom in _custom_types(info):
        if not _is_pydantic(custom):
            raise ValueError(f"{name_of(custom)} cannot be read from JSON: take a struct, a dataclass or a model.")
    return decode


def plain(value: Any) -> Any:
    """For `json.dumps`: typed objects as what JSON knows. TypeError where it has nothing like it."""
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if isinstance(value, PLAIN_BY_MSGSPEC) or (dataclasses.is_dataclass(value) and not isinstance(value, type)):
        return msgspec.to_builtins(value, enc_hook=plain)
    raise TypeError(f"Object of type {type(value).__name__} is not JSON serializable")


def name_of(wanted: Any) -> str:
    return wanted.__name__ if isinstance(wanted, type) else str(wanted)


def _custom_types(info: Any) -> Iterator[Any]:
    """The types in it that msgspec does not know."""
    seen: set[int] = set()
    unseen = [info]
    while unseen:
        each = unseen.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, msgspec.inspect.CustomType):
            yield each.cls
        elif isinstance(each, tuple):
            unseen += each
        elif isinstance(each, msgspec.inspect.Type | msgspec.inspect.Field):
            unseen += [getattr(each, name) for name in each.__struct_fields__ if name not in ("cls", "default")]


def _converted(wanted: Any, value: Any) -> Any:
    """For msgspec, which adds where in the payload it was."""
    if not _is_pydantic(wanted):
        raise TypeError(f"{name_of(wanted)} cannot be read from JSON")
    try:
        return wanted.model_validate(value)
    except ValueError as problem:
        raise ValueError(_in_one_line(problem)) from None


def _is_pydantic(wanted: Any) -> bool:
    """By its looks: the SDK does not import what its user may not have."""
    return hasattr(wanted, "model_validate")


def _in_one_line(problem: ValueError) -> str:
    errors = getattr(problem, "errors", None)
    if not callable(errors):
        return str(problem)
    return "; ".join(f"{'.'.join(map(str, each['loc'])) or 'the whole'}: {each['msg']}" for each in errors())
