"""What a page of the operators' site watches, and who may. All of it is in the address that the page asks.

`watch=task/<id>` is one task; `watch=workers&row=<id>&row=<id>&newer=1` is the rows that a list shows and, where
these are the beginning of it, whether others belong there by now. Two pages that ask the same watch the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs
from uuid import UUID

from queueapp.domain.filter_values import parse_time
from queueapp.domain.names import is_storable
from queueapp.models import NAME_LENGTH

OVERVIEW = ("queueapp.view_task", "queueapp.view_queue", "queueapp.view_workersession")
"""It shows something of each."""
ERRORS = ("queueapp.view_task", "queueapp.view_attempt")

ROWS = 100
"""Of a list, twice as many as a page has."""
TEXT_LENGTH = 2000
FIELDS = ROWS + 10

_PERMISSIONS: Mapping[str, Sequence[str]] = {"overview": OVERVIEW, "errors": ERRORS}
_MODELS = {
    "task": "task",
    "tasks": "task",
    "worker": "workersession",
    "workers": "workersession",
    "queue": "queue",
    "queues": "queue",
    "operation": "operation",
    "operations": "operation",
}
_ONE = ("task", "worker", "queue", "operation")
_NAMED = ("queue", "queues")


class UnknownSubject(ValueError):
    """There is nothing of that kind to be watched."""


@dataclass(frozen=True, slots=True)
class Subject:
    """`key`: of what is one thing. `rows`: those of a list that are shown; `is_beginning`: there are no others
    before them. `text`: the filter of a list of tasks. `since`: errors up to then are known."""

    kind: str = "overview"
    key: Any = None
    rows: tuple[Any, ...] = ()
    is_beginning: bool = False
    text: str = ""
    since: datetime | None = None


def read(query: str) -> Subject:
    """From the part of an address behind the `?`; of an empty one it is the overview. UnknownSubject."""
    try:
        given = parse_qs(query, keep_blank_values=True, max_num_fields=FIELDS, errors="strict")
        kind, slash, key = _one(given, "watch", "overview").partition("/")
        if (kind not in _MODELS and kind not in _PERMISSIONS) or bool(slash) != (kind in _ONE):
            raise UnknownSubject(kind)
        read_key = _name if kind in _NAMED else UUID
        if kind in _ONE:
            return Subject(kind, read_key(key))
        since = _one(given, "since")
        return Subject(
            kind,
            rows=_rows(given.get("row", ()), read_key),
            is_beginning="newer" in given,
            text=_text(_one(given, "q")),
            since=parse_time(since) if since else None,
        )
    except ValueError as error:
        raise UnknownSubject(str(error)) from error


def may_watch(user: Any, subject: Subject) -> bool:
    """Who may open the page. The admin opens a row's and a list's also to those who may change such rows."""
    if not (user and user.is_active and user.is_staff):
        return False
    if (model := _MODELS.get(subject.kind)) is not None:
        return any(user.has_perm(f"queueapp.{verb}_{model}") for verb in ("view", "change"))
    return user.has_perms(_PERMISSIONS[subject.kind])


def _one(given: Mapping[str, Sequence[str]], name: str, otherwise: str = "") -> str:
    return next(iter(given.get(name, ())), otherwise)


def _rows(texts: Sequence[str], read_key: Callable[[str], Any]) -> tuple[Any, ...]:
    if len(texts) > ROWS:
        raise UnknownSubject("so many rows")
    return tuple(read_key(text) for text in texts)


def _name(text: str) -> str:
    if not text or len(text) > NAME_LENGTH or not is_storable(text):
        raise UnknownSubject("no name")
    return text


def _text(text: str) -> str:
    if len(text) > TEXT_LENGTH or not is_storable(text):
        raise UnknownSubject("no filter")
    return text
