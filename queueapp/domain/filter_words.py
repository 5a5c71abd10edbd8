"""What an operation's filter selects, in words for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

EVERY_TASK = "every task"


def in_words(document: Mapping[str, Any]) -> str:
    """`tasks with state failed or expired, name tag and attr.cloud aws`."""
    if document.get("all") is True:
        return EVERY_TASK
    members = [f"{member} {_any_of(value)}" for member, value in document.items()]
    if not members:
        return "no task"
    *others, last = members
    return f"tasks with {', '.join(others)} and {last}" if others else f"tasks with {last}"


def _any_of(value: Any) -> str:
    values = value if isinstance(value, list) else [value]
    return " or ".join(part for each in values for part in str(each).split(","))
