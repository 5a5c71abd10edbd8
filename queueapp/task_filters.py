"""Which tasks a caller means: the filters of lists and of operations, from text to selection."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any
from uuid import UUID

from queueapp import database, operator_filters
from queueapp.domain.errors import FieldError, InvalidFilter
from queueapp.domain.filter_values import ATTRIBUTE, UNGROUPED, check_number
from queueapp.domain.names import attribute_problem, is_storable, is_task_name
from queueapp.domain.states import TaskState
from queueapp.domain.times import parse_rfc3339
from queueapp.models import Task
from queueapp.querysets import TaskQuerySet

TaskFilter = Callable[[TaskQuerySet, str], TaskQuerySet]
"""Those of the tasks that match the text. ValueError says what is wrong with the text."""

ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


def task_filter(name: str) -> TaskFilter | None:
    """The filter of that name; None if there is none."""
    narrow = _filter_named(name)
    return None if narrow is None else partial(_if_storable, narrow)


def published(document: Mapping[str, Any]) -> None:
    """InvalidFilter for what an operation's filter from outside may not have: its members are the filters of
    lists. Every wrong one is named, and an empty filter is refused."""
    _narrowed(Task.objects.none(), document, KNOWN_FILTERS, _as_in_lists)


def selected(tasks: TaskQuerySet, document: Mapping[str, Any], *, at: datetime | None = None) -> TaskQuerySet:
    """Those of the tasks that every member of an operation's filter, as `{"attr.cloud": "aws"}`, matches.

    The members are the filters of lists, where a text means what it means there, and those of
    `operator_filters`, of whose values a list means any. Ages are counted from `at`, or from now. InvalidFilter
    names every wrong one, and refuses an empty filter.
    """

    def narrow(tasks: TaskQuerySet, name: str, value: Any) -> TaskQuerySet | None:
        values = text_of(name, value).split(",") if name in LISTED else operator_filters.values_of(value)
        condition = operator_filters.condition(name, values, at or database.now())
        return None if condition is None else tasks.filter(condition)

    return _narrowed(tasks, document, operator_filters.KNOWN_FILTERS, narrow)


def _narrowed(
    tasks: TaskQuerySet,
    document: Mapping[str, Any],
    known: Sequence[str],
    narrow: Callable[[TaskQuerySet, str, Any], TaskQuerySet | None],
) -> TaskQuerySet:
    if len(document) == 1 and document.get(_ALL) is True:
        return tasks
    if not document:
        raise InvalidFilter([FieldError("", f"an empty filter selects nothing; {_EVERY_TASK}")])
    errors: list[FieldError] = []
    for name, value in document.items():
        try:
            narrowed = narrow(tasks, name, value) if name != _ALL else None
            if narrowed is None:
                raise ValueError(f"unknown filter; known are {', '.join(known)}; {_EVERY_TASK}")
            tasks = narrowed
        except ValueError as error:
            errors.append(FieldError.at(name, str(error)))
    if errors:
        raise InvalidFilter(errors)
    return tasks


def _as_in_lists(tasks: TaskQuerySet, name: str, value: Any) -> TaskQuerySet | None:
    narrow = task_filter(name)
    return None if narrow is None else narrow(tasks, text_of(name, value))


def text_of(name: str, value: Any) -> str:
    """A member of an operation's filter as the text that a list's parameter would be."""
    may_be_list = name in LISTED
    if may_be_list and isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return ",".join(value)
    if not isinstance(value, str):
        raise ValueError("must be a string or a list of strings" if may_be_list else "must be a string")
    return value


def listed(value: str, known: Collection[str]) -> list[str]:
    """The words of a comma list. ValueError for one that is not known."""
    wanted = value.split(",")
    check_number(wanted)
    if not set(wanted) <= set(known):
        raise ValueError(f"must be of {', '.join(known)}, several separated by commas")
    return wanted


def _if_storable(narrow: TaskFilter, tasks: TaskQuerySet, value: str) -> TaskQuerySet:
    if not is_storable(value):
        raise ValueError("must not contain NUL characters")
    return narrow(tasks, value)


def _by_state(tasks: TaskQuerySet, value: str) -> TaskQuerySet:
    return tasks.filter(state__in=listed(value, [str(state) for state in TaskState]))


def _by_name(tasks: TaskQuerySet, value: str) -> TaskQuerySet:
    names = value.split(",")
    check_number(names)
    if not all(is_task_name(name) for name in names):
        raise ValueError("must be a task name, several separated by commas")
    return tasks.filter(name__in=names)


def _by_worker(tasks: TaskQuerySet, value: str) -> TaskQuerySet:
    """What the worker holds, and what has ended on it: as a task's document reads."""
    if ID.fullmatch(value) is None:
        raise ValueError("must be the id of a worker")
    return tasks.filter(operator_filters.of_workers([UUID(value)]))


def _created_after(tasks: TaskQuerySet, value: str) -> TaskQuerySet:
    return tasks.filter(created_at__gte=_time(value))


def _created_before(tasks: TaskQuerySet, value: str) -> TaskQuerySet:
    return tasks.filter(created_at__lt=_time(value))


def _by_tag(tasks: TaskQuerySet, value: str) -> TaskQuerySet:
    return tasks.tagged(value)


def _by_error_group(tasks: TaskQuerySet, value: str) -> TaskQuerySet:
    """Those that have failed with an error of it."""
    if value == UNGROUPED:
        return tasks.failed_in(None)
    if ID.fullmatch(value) is None:
        raise ValueError(f"must be the id of a group of errors, or {UNGROUPED}")
    return tasks.failed_in(UUID(value))


def _by_attribute(criterion: str, tasks: TaskQuerySet, value: str) -> TaskQuerySet:
    if problem := attribute_problem(criterion, value):
        raise ValueError(problem)
    return tasks.with_attribute(criterion, value)


def _time(value: str) -> datetime:
    # In a query a plus sign that nobody encoded has become a space.
    return parse_rfc3339(value.replace(" ", "+"))


_TASK_FILTERS: dict[str, TaskFilter] = {
    "state": _by_state,
    "name": _by_name,
    "worker": _by_worker,
    "created_after": _created_after,
    "created_before": _created_before,
    "tag": _by_tag,
    "error_group": _by_error_group,
}

LISTED = ("state", "name")
"""Those whose text is a comma list, of which any matches."""

KNOWN_FILTERS = (*_TASK_FILTERS, f"{ATTRIBUTE}<criterion>")
_ALL = "all"
_EVERY_TASK = 'say {"all": true} alone if every task is meant'


def _filter_named(name: str) -> TaskFilter | None:
    if name.startswith(ATTRIBUTE):
        return partial(_by_attribute, name.removeprefix(ATTRIBUTE))
    return _TASK_FILTERS.get(name)
