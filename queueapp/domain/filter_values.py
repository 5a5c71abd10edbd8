"""The values of the operators' filters: what may stand behind `age:`, `created:`, `error:` and the others."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from queueapp.domain.ids import as_id
from queueapp.domain.names import attribute_problem, is_storable, is_task_name
from queueapp.domain.states import TaskState
from queueapp.domain.times import parse_rfc3339

ATTRIBUTE = "attr."
DATA = "data."
ANYTHING = "*"
"""At the end of a name: whatever follows."""
CONTAINS = "~"
UNGROUPED = "none"
"""The group of those that failed before errors were grouped."""

ONE_VALUE = ("error", "age", "waiting", "finished", "created", "created_after", "created_before")
"""Filters whose values may hold commas, or of which several make no sense."""
STATES = tuple(str(state) for state in TaskState)
PATH_LENGTH = 10
VALUE_LENGTH = 1000
MOST_DAYS = 36_500
MOST_VALUES = 100
"""Of one filter: each may be a condition, of which a statement holds so many."""

_TIMES = "2026-01-31, 2026-01-31T12:00 (UTC) or 2026-01-31T12:00:00+01:00"
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_DURATION = re.compile(r"(?:\d{1,9}[smhd])+", re.ASCII)
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_MINUTE = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d)(:\d\d(?:\.\d+)?)?(Z|[+ -]\d\d:\d\d)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Age:
    """`>1h`: longer ago than that (`is_over`); `<1h`: not so long ago."""

    is_over: bool
    duration: timedelta


@dataclass(frozen=True, slots=True)
class Span:
    """From `after` on and before `before`; None is no such end."""

    after: datetime | None = None
    before: datetime | None = None

    def within(self, other: Span) -> Span:
        """What both contain."""
        return Span(
            max(filter(None, (self.after, other.after)), default=None),
            min(filter(None, (self.before, other.before)), default=None),
        )


def parse_age(text: str) -> Age:
    duration = text[1:].lower()
    if text[:1] not in ("<", ">") or _DURATION.fullmatch(duration) is None:
        raise ValueError("must be > or < and a duration, such as >5m, <1h, >1d12h (units: s, m, h, d)")
    total = sum(
        (timedelta(**{_UNITS[unit]: int(number)}) for number, unit in re.findall(r"(\d+)([smhd])", duration)),
        timedelta(),
    )
    if total > timedelta(days=MOST_DAYS):
        raise ValueError("is longer ago than a hundred years")
    return Age(text[0] == ">", total)


def parse_time(text: str) -> datetime:
    """A day or a time, in UTC where it names no zone."""
    try:
        if _DAY.fullmatch(text):
            return datetime.combine(date.fromisoformat(text), datetime.min.time(), UTC)
        if found := _MINUTE.fullmatch(text.upper()):
            day, minute, second, zone = found.groups()
            # In an address a plus sign that nobody encoded has become a space.
            return parse_rfc3339(f"{day}T{minute}{second or ':00'}{(zone or 'Z').replace(' ', '+')}")
    except ValueError:
        pass
    raise ValueError(f"must be {_TIMES}")


def parse_span(text: str) -> Span:
    """`>TIME`, `<TIME`, `FROM..TO`, or a day. A time has a zone, or is UTC; a day begins at midnight, UTC."""
    try:
        if text.startswith(">"):
            return Span(after=parse_time(text[1:]))
        if text.startswith("<"):
            return Span(before=parse_time(text[1:]))
        if ".." in text:
            first, last = text.split("..", 1)
            return Span(parse_time(first), parse_time(last))
        begin = parse_time(text)
        if _DAY.fullmatch(text):
            return Span(begin, begin + timedelta(days=1))
    except (ValueError, OverflowError):
        pass
    raise ValueError(f"must be a day (2026-01-31), >TIME, <TIME or FROM..TO; a time is {_TIMES}")


def parse_data_path(member: str) -> tuple[str | int, ...]:
    """`data.nodes.0.id`: `("nodes", 0, "id")`. Digits are a place in a list."""
    steps = member.removeprefix(DATA).split(".")
    if not all(steps) or len(steps) > PATH_LENGTH:
        raise ValueError(f"must be {DATA} and up to {PATH_LENGTH} names with points between them: {DATA}node.id")
    if not is_storable(member) or '"' in member or len(member) > VALUE_LENGTH:
        raise ValueError("has a name in its path that cannot be asked for")
    return tuple(int(step) if step.isascii() and step.isdigit() and len(step) < 9 else step for step in steps)


def check(member: str, values: Sequence[str]) -> None:
    """ValueError says what is wrong with the values, of which there is at least one."""
    if member in ONE_VALUE and len(values) > 1:
        raise ValueError("takes one value")
    check_number(values)
    for value in values:
        if not is_storable(value):
            raise ValueError("must not contain NUL characters")
        if len(value) > VALUE_LENGTH:
            raise ValueError(f"has at most {VALUE_LENGTH} characters")
        if member.startswith(ATTRIBUTE):
            if problem := attribute_problem(member.removeprefix(ATTRIBUTE), value):
                raise ValueError(problem)
        elif member.startswith(DATA):
            parse_data_path(member)
        else:
            _CHECKS[member](value)


def check_number(values: Sequence[str]) -> None:
    if len(values) > MOST_VALUES:
        raise ValueError(f"takes at most {MOST_VALUES} values")


def _check_state(value: str) -> None:
    if value not in STATES:
        raise ValueError(f"must be of {', '.join(STATES)}")


def _check_name(value: str) -> None:
    """A task name or, with `*`, the beginning of one; `*` alone is every name."""
    if not is_task_name(value.removesuffix(ANYTHING) or "x"):
        raise ValueError("must be a task name, or the beginning of one and *")


def _check_error(value: str) -> None:
    if value == CONTAINS:
        raise ValueError("needs a text behind the ~")


def _check_id(value: str) -> None:
    if as_id(value) is None:
        raise ValueError("must be a task's id")


def _check_error_group(value: str) -> None:
    if value != UNGROUPED and as_id(value) is None:
        raise ValueError(f"must be the id of a group of errors, or {UNGROUPED}")


def _anything(value: str) -> None:
    pass


_CHECKS: dict[str, Callable[[str], object]] = {
    "state": _check_state,
    "name": _check_name,
    "worker": _anything,
    "tag": _anything,
    "error": _check_error,
    "error_group": _check_error_group,
    "age": parse_age,
    "waiting": parse_age,
    "finished": parse_age,
    "created": parse_span,
    "created_after": parse_time,
    "created_before": parse_time,
    "id": _check_id,
}
