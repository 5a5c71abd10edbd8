"""Query parameters, read strictly: one that nobody knows or that cannot be used is an error, never ignored."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from uuid import UUID

from django.db.models import Q
from django.http import QueryDict

from queueapp.conf import config
from queueapp.domain.errors import FieldError, WorkQueueError
from queueapp.domain.names import attribute_problem, is_storable, is_task_name
from queueapp.domain.states import SessionState, TaskState
from queueapp.querysets import TaskQuerySet, WorkerSessionQuerySet

PAGING = ("cursor", "limit")
ATTRIBUTE = "attr."
PREFER_WAIT = re.compile(r"\s*wait\s*=\s*(\"?)(\d{1,9})\1\s*(?:;.*)?", re.IGNORECASE | re.ASCII)

TaskFilter = Callable[[TaskQuerySet, str], TaskQuerySet]


class InvalidParameters(WorkQueueError):
    """Query parameters cannot be used; `errors` names every wrong one. Nothing was done."""

    def __init__(self, errors: Sequence[FieldError]) -> None:
        super().__init__("; ".join(str(error) for error in errors))
        self.errors = tuple(errors)


def invalid(parameter: str, message: str) -> FieldError:
    return FieldError("/" + parameter.replace("~", "~0").replace("/", "~1"), message)


def allow_only(given: QueryDict, known: Collection[str]) -> None:
    """Refuse parameters that are not among the known ones."""
    unknown = [parameter for parameter in given if parameter not in known]
    if unknown:
        raise InvalidParameters([invalid(parameter, _unknown(known)) for parameter in unknown])


def filtered_tasks(tasks: TaskQuerySet, given: QueryDict) -> TaskQuerySet:
    """Those of the tasks that all the parameters match. A parameter given twice narrows twice."""
    errors: list[FieldError] = []
    for parameter, values in given.lists():
        if parameter in PAGING:
            continue
        narrow = _task_filter(parameter)
        if narrow is None:
            errors.append(invalid(parameter, _unknown([*_TASK_FILTERS, f"{ATTRIBUTE}<criterion>", *PAGING])))
            continue
        for value in values:
            try:
                if not is_storable(value):
                    raise ValueError("must not contain NUL characters")
                tasks = narrow(tasks, value)
            except ValueError as error:
                errors.append(invalid(parameter, str(error)))
    if errors:
        raise InvalidParameters(errors)
    return tasks


def filtered_sessions(sessions: WorkerSessionQuerySet, given: QueryDict) -> WorkerSessionQuerySet:
    """`?state=` online, draining or gone, several with commas; without it those that are attached."""
    allow_only(given, ("state", *PAGING))
    wanted = given.get("state")
    if wanted is None:
        return sessions.attached()
    try:
        return sessions.filter(state__in=_listed(wanted, [str(state) for state in SessionState]))
    except ValueError as error:
        raise InvalidParameters([invalid("state", str(error))]) from None


def wait_seconds(given: QueryDict) -> float:
    """`?wait=SECONDS`, at most as long as the setting allows; 0 when it is not given."""
    text = given.get("wait", "0")
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not (math.isfinite(seconds) and seconds >= 0):
        raise InvalidParameters([invalid("wait", "must be a number of seconds, 0 or more")])
    return min(seconds, config().max_wait_seconds)


def preferred_wait_seconds(headers: Mapping[str, str]) -> float:
    """Of `Prefer: wait=SECONDS`, at most as long as the setting allows; 0 when it is not there or not understood,
    for a preference that is not understood is to be ignored. Of several the first counts (RFC 7240)."""
    found = next(filter(None, map(PREFER_WAIT.fullmatch, headers.get("Prefer", "").split(","))), None)
    return min(float(found[2]), config().max_wait_seconds) if found else 0.0


def _unknown(known: Collection[str]) -> str:
    return f"unknown parameter; known are {', '.join(known)}" if known else "there are no parameters here"


def _listed(value: str, known: Collection[str]) -> list[str]:
    wanted = value.split(",")
    if not set(wanted) <= set(known):
        raise ValueError(f"must be of {', '.join(known)}, several separated by commas")
    return wanted


def _by_state(tasks: TaskQuerySet, value: str) -> TaskQuerySet:
    return tasks.filter(state__in=_listed(value, [str(state) for state in TaskState]))


def _by_name(tasks: TaskQuerySet, value: str) -> TaskQuerySet:
    names = value.split(",")
    if not all(is_task_name(name) for name in names):
        raise ValueError("must be a task name, several separated by commas")
    return tasks.filter(name__in=names)


def _by_worker(tasks: TaskQuerySet, value: str) -> TaskQuerySet:
    """What the worker holds, and what has ended on it: as a task's document reads."""
    try:
        session_id = UUID(value)
    except ValueError:
        raise ValueError("must be the id of a worker") from None
    return tasks.filter(Q(worker=session_id) | Q(last_worker=session_id, finished_at__isnull=False))


def _created_after(tasks: TaskQuerySet, value: str) -> TaskQuerySet:
    return tasks.filter(created_at__gte=_time(value))


def _created_before(tasks: TaskQuerySet, value: str) -> TaskQuerySet:
    return tasks.filter(created_at__lt=_time(value))


def _by_tag(tasks: TaskQuerySet, value: str) -> TaskQuerySet:
    return tasks.tagged(value)


def _by_attribute(criterion: str, tasks: TaskQuerySet, value: str) -> TaskQuerySet:
    if problem := attribute_problem(criterion, value):
        raise ValueError(problem)
    return tasks.with_attribute(criterion, value)


def _time(value: str) -> datetime:
    try:
        # In a query a plus sign that nobody encoded has become a space.
        parsed = datetime.fromisoformat(value.replace(" ", "+"))
        if parsed.tzinfo is None:
            raise ValueError
        return parsed.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("must be an RFC 3339 time with a zone, such as 2030-01-31T12:00:00Z") from None


_TASK_FILTERS: dict[str, TaskFilter] = {
    "state": _by_state,
    "name": _by_name,
    "worker": _by_worker,
    "created_after": _created_after,
    "created_before": _created_before,
    "tag": _by_tag,
}


def _task_filter(parameter: str) -> TaskFilter | None:
    if parameter.startswith(ATTRIBUTE):
        return partial(_by_attribute, parameter.removeprefix(ATTRIBUTE))
    return _TASK_FILTERS.get(parameter)
