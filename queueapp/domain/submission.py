"""What a producer submits: one parser for REST, commands and admin (contract, section 5)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from queueapp.domain.addresses import Networks
from queueapp.domain.errors import FieldError, InvalidJson, InvalidSubmission
from queueapp.domain.names import attribute_problem, is_storable, is_task_name
from queueapp.domain.payloads import json_text
from queueapp.domain.retries import Backoff
from queueapp.domain.states import RETRYABLE_OUTCOMES
from queueapp.domain.times import parse_rfc3339
from queueapp.domain.webhooks import forbidden_host, host_of

PRIORITIES = range(-100, 101)
MAX_SECONDS = 366 * 86_400.0
MAX_ATTEMPTS = 1000
MAX_BACKOFF_FACTOR = 100.0
MAX_CONCURRENCY = 1_000_000
KEY_LENGTH = 200
"""Of a `unique_key` and a `concurrency_key`."""
TAG_LENGTH = 100
TAG_COUNT = 32


@dataclass(frozen=True, slots=True)
class Limits:
    """Of a submission, and how many of them come in one."""

    data_bytes: int = 1024 * 1024
    attrs: int = 32
    bulk: int = 10_000
    callback_networks: Networks = ()
    """Not of the public internet, and callbacks may go there all the same."""


class Submission(NamedTuple):
    """A task to be. None means that the queue's default, or else the general one, applies.

    `data` is JSON text; durations are in seconds; `available_at` None is now.
    """

    name: str
    attrs: dict[str, str]
    data: str = "null"
    priority: int = 0
    timeout_seconds: float | None = None
    max_attempts: int | None = None
    retry_on: list[str] | None = None
    backoff: dict[str, float] | None = None
    available_at: datetime | None = None
    expires_at: datetime | None = None
    spill_after_seconds: float | None = None
    unique_key: str | None = None
    concurrency_key: str | None = None
    tags: list[str] | None = None
    traceparent: str = ""
    callback_url: str | None = None


def parse_submission(document: Any, now: datetime, limits: Limits, index: int | None = None) -> Submission:
    """The submission in a parsed JSON document, or InvalidSubmission naming every wrong field.

    `index` is the place in a bulk submission; it is carried by the errors.
    """
    return _Parser(now, limits, index).submission(document)


def parse_queue_defaults(document: Any, now: datetime) -> dict[str, Any]:
    """What a document changes of a queue, as a submission's fields are read: column → value, None for none of its
    own. InvalidSubmission names every wrong field."""
    return _Parser(now, Limits()).values(document, _DEFAULT_READERS)


class _Parser:
    def __init__(self, now: datetime, limits: Limits, index: int | None = None) -> None:
        self.now, self.limits, self.index = now, limits, index
        self.errors: list[FieldError] = []

    def submission(self, document: Any) -> Submission:
        if not isinstance(document, Mapping):
            raise InvalidSubmission([FieldError("", "a task is a JSON object", self.index)])
        if "name" not in document:
            self._refuse("name", "this field is required")
        values = self.values(document, _READERS)
        values.setdefault("attrs", {})
        return Submission(**values)

    def values(self, document: Any, readers: Mapping[str, Reader]) -> dict[str, Any]:
        if not isinstance(document, Mapping):
            raise InvalidSubmission([FieldError("", "must be a JSON object", self.index)])
        values: dict[str, Any] = {}
        for field, value in document.items():
            reader = readers.get(field)
            if reader is None:
                self._refuse(field, f"unknown field; known are {', '.join(readers)}")
                continue
            target, read = reader
            try:
                parsed = read(self, value)
            except ValueError as error:
                self._refuse(field, str(error))
            else:
                if parsed is None:
                    values.setdefault(target, None)
                elif values.get(target) is not None:
                    self._refuse(field, "give either the duration or the time, not both")
                else:
                    values[target] = parsed
        if self.errors:
            raise InvalidSubmission(self.errors)
        return values

    def _refuse(self, field: str, message: str) -> None:
        escaped = field.replace("~", "~0").replace("/", "~1")
        escaped = escaped.encode("utf-8", "replace").decode()
        self.errors.append(FieldError(f"/{escaped}", message, self.index))

    def name(self, value: Any) -> str:
        if not isinstance(value, str) or not is_task_name(value):
            raise ValueError("must be 1 to 200 letters, digits and the characters _ . : -")
        return value

    def attrs(self, value: Any) -> dict[str, str]:
        if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
            raise ValueError("must be an object of strings")
        if len(value) > self.limits.attrs:
            raise ValueError(f"must have at most {self.limits.attrs} attributes")
        for criterion, item in value.items():
            if problem := attribute_problem(criterion, item):
                raise ValueError(problem)
        return value

    def data(self, value: Any) -> str:
        try:
            text = json_text(value)
            size = len(text.encode())
        except (InvalidJson, UnicodeEncodeError) as error:
            raise ValueError(f"cannot be stored: {error}") from None
        if size > self.limits.data_bytes:
            raise ValueError(f"must be at most {self.limits.data_bytes} bytes of JSON, and is {size}")
        return text

    def priority(self, value: Any) -> int:
        return _whole(value, PRIORITIES[0], PRIORITIES[-1])

    def max_attempts(self, value: Any) -> int | None:
        return None if value is None else _whole(value, 1, MAX_ATTEMPTS)

    def concurrency(self, value: Any) -> int | None:
        return None if value is None else _whole(value, 1, MAX_CONCURRENCY, ", or null")

    def retry_on(self, value: Any) -> list[str]:
        known = sorted(str(outcome) for outcome in RETRYABLE_OUTCOMES)
        if not isinstance(value, list) or not all(isinstance(v, str) and v in known for v in value):
            raise ValueError(f"must be a list of some of {', '.join(known)}")
        return value

    def backoff(self, value: Any) -> dict[str, float]:
        known = {"initial": (0.0, MAX_SECONDS), "factor": (1.0, MAX_BACKOFF_FACTOR), "max": (0.0, MAX_SECONDS)}
        if not isinstance(value, dict) or not value.keys() <= known.keys():
            raise ValueError("must be an object with initial, factor and max")
        for member, number in value.items():
            low, high = known[member]
            if not _is_number(number) or not low <= number <= high:
                raise ValueError(f"{member} must be a number from {low:g} to {high:g}")
        return value

    def duration(self, value: Any) -> float:
        if not _is_number(value) or not 0 < value <= MAX_SECONDS:
            raise ValueError(f"must be a number of seconds, above 0 and at most {MAX_SECONDS:.0f}")
        return float(value)

    def optional_duration(self, value: Any) -> float | None:
        return None if value is None else self.duration(value)

    def spill_after(self, value: Any) -> float | None:
        return None if value is None else _seconds(value, ", or null")

    def after(self, value: Any) -> datetime | None:
        return None if value is None else self.now + timedelta(seconds=_seconds(value))

    def time(self, value: Any) -> datetime | None:
        if value is None:
            return None
        parsed = parse_rfc3339(value if isinstance(value, str) else "")
        if parsed > self.now + timedelta(seconds=10 * MAX_SECONDS):
            raise ValueError("must not be more than ten years away")
        return parsed

    def key(self, value: Any) -> str | None:
        return None if value is None else _text(value, KEY_LENGTH)

    def callback_url(self, value: Any) -> str | None:
        if value is None:
            return None
        if not isinstance(value, str):
            raise ValueError("must be text, or null")
        if forbidden_host(host_of(value), self.limits.callback_networks):
            raise ValueError("must lead to the public internet: the server does not allow callbacks to its host")
        return value

    def tags(self, value: Any) -> list[str]:
        if not isinstance(value, list) or len(value) > TAG_COUNT:
            raise ValueError(f"must be a list of at most {TAG_COUNT} strings")
        return [_text(tag, TAG_LENGTH) for tag in value]


def backoff_of(stored: Mapping[str, float] | None) -> Backoff:
    return Backoff(**(stored or {}))


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) < 1e18 if isinstance(value, int) else math.isfinite(value)


def _is_whole(value: Any) -> bool:
    """JSON has one kind of number: 1.0 is as whole as 1."""
    return isinstance(value, int | float) and not isinstance(value, bool) and value % 1 == 0


def _whole(value: Any, least: int, most: int, or_else: str = "") -> int:
    """`or_else` is said too where it is none."""
    if not _is_whole(value) or not least <= value <= most:
        raise ValueError(f"must be a whole number from {least} to {most}{or_else}")
    return int(value)


def _seconds(value: Any, or_else: str = "") -> float:
    if not _is_number(value) or not 0 <= value <= MAX_SECONDS:
        raise ValueError(f"must be a number of seconds from 0 to {MAX_SECONDS:.0f}{or_else}")
    return float(value)


def _text(value: Any, length: int) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= length or not is_storable(value):
        raise ValueError(f"must be text of 1 to {length} characters")
    return value


Reader = tuple[str, Callable[[_Parser, Any], Any]]
"""The member of what is read, and what reads its value; ValueError says what is wrong with it."""

_READERS: dict[str, Reader] = {
    "name": ("name", _Parser.name),
    "attrs": ("attrs", _Parser.attrs),
    "data": ("data", _Parser.data),
    "priority": ("priority", _Parser.priority),
    "timeout": ("timeout_seconds", _Parser.optional_duration),
    "max_attempts": ("max_attempts", _Parser.max_attempts),
    "retry_on": ("retry_on", _Parser.retry_on),
    "backoff": ("backoff", _Parser.backoff),
    "delay": ("available_at", _Parser.after),
    "available_at": ("available_at", _Parser.time),
    "expires_in": ("expires_at", _Parser.after),
    "expires_at": ("expires_at", _Parser.time),
    "spill_after": ("spill_after_seconds", _Parser.spill_after),
    "unique_key": ("unique_key", _Parser.key),
    "concurrency_key": ("concurrency_key", _Parser.key),
    "tags": ("tags", _Parser.tags),
    "callback_url": ("callback_url", _Parser.callback_url),
}

_DEFAULT_READERS: dict[str, Reader] = {
    "timeout": ("timeout_seconds", _Parser.optional_duration),
    "max_attempts": ("max_attempts", _Parser.max_attempts),
    "spill_after": ("spill_after_seconds", _Parser.spill_after),
    "concurrency": ("concurrency", _Parser.concurrency),
    "concurrency_per_key": ("concurrency_per_key", _Parser.concurrency),
}
