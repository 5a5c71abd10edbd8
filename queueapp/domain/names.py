"""What a task name and an attribute may look like (contract, sections 2 and 5), and how they are written."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from fnmatch import fnmatchcase

TASK_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,200}")
_SURROGATE = re.compile("[\ud800-\udfff]")
ATTRIBUTE_NAME_LENGTH = 200
ATTRIBUTE_VALUE_LENGTH = 1000


def is_task_name(text: str) -> bool:
    return TASK_NAME.fullmatch(text) is not None


def is_storable(text: str) -> bool:
    """Whether a database keeps the text: PostgreSQL refuses NUL, UTF-8 refuses lone surrogates."""
    return "\x00" not in text and (text.isascii() or _SURROGATE.search(text) is None)


def attribute_problem(name: str, value: str) -> str | None:
    """What is wrong with an attribute or filter value, in words; None when nothing is."""
    if not name:
        return "an attribute name must not be empty"
    if len(name) > ATTRIBUTE_NAME_LENGTH:
        return f"an attribute name has at most {ATTRIBUTE_NAME_LENGTH} characters"
    if len(value) > ATTRIBUTE_VALUE_LENGTH:
        return f"an attribute value has at most {ATTRIBUTE_VALUE_LENGTH} characters"
    if not (is_storable(name) and is_storable(value)):
        return "NUL characters and lone surrogates cannot be stored"
    return None


def name_allowed(name: str, globs: Collection[str]) -> bool:
    """Whether a key restricted to `globs` may touch tasks of this name; no globs allow every name."""
    return not globs or any(fnmatchcase(name, glob) for glob in globs)


def attrs_in_words(attrs: Mapping[str, str]) -> str:
    return " ".join(f"{name}={value}" for name, value in sorted(attrs.items()))


def route_in_words(name: str, attrs: Mapping[str, str]) -> str:
    return f"“{name}” ({attrs_in_words(attrs)})" if attrs else f"“{name}”"
