"""Query parameters, read strictly: one that nobody knows or that cannot be used is an error, never ignored."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence

from django.http import QueryDict

from queueapp.conf import config
from queueapp.domain.errors import FieldError, WorkQueueError
from queueapp.domain.states import SessionState
from queueapp.querysets import TaskQuerySet, WorkerSessionQuerySet
from queueapp.task_filters import KNOWN_FILTERS, LISTED, listed, task_filter

PAGING = ("cursor", "limit")
NUMBER = re.compile(r"\d+(\.\d+)?(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
"""As JSON writes one that is not negative."""
PREFER_WAIT = re.compile(r"\s*wait\s*=\s*(\"?)(\d{1,9})\1\s*(?:;.*)?", re.IGNORECASE | re.ASCII)


class InvalidParameters(WorkQueueError):
    """Query parameters cannot be used; `errors` names every wrong one. Nothing was done."""

    def __init__(self, errors: Sequence[FieldError]) -> None:
        super().__init__("; ".join(str(error) for error in errors))
        self.errors = tuple(errors)


def invalid(parameter: str, message: str) -> FieldError:
    return FieldError.at(parameter, message)


def allow_only(given: QueryDict, known: Collection[str]) -> None:
    """Refuse parameters that are not among the known ones."""
    unknown = [parameter for parameter in given if parameter not in known]
    if unknown:
        raise InvalidParameters([invalid(parameter, _unknown(known)) for parameter in unknown])


def filtered_tasks(tasks: TaskQuerySet, given: QueryDict) -> TaskQuerySet:
    """Those of the tasks that all the parameters match. Of a parameter given twice the values add up where it
    takes a comma list; another narrows twice."""
    errors: list[FieldError] = []
    for parameter, values in given.lists():
        if parameter in PAGING:
            continue
        narrow = task_filter(parameter)
        if narrow is None:
            errors.append(invalid(parameter, _unknown([*KNOWN_FILTERS, *PAGING])))
            continue
        for value in [",".join(values)] if parameter in LISTED else values:
            try:
                tasks = narrow(tasks, value)
            except ValueError as error:
                errors.append(invalid(parameter, str(error)))
    if errors:
        raise InvalidParameters(errors)
    return tasks


def filtered_sessions(sessions: WorkerSessionQuerySet, given: QueryDict) -> WorkerSessionQuerySet:
    """`?state=` online, draining or gone, several with commas or repeated; without it those that are attached."""
    allow_only(given, ("state", *PAGING))
    wanted = given.getlist("state")
    if not wanted:
        return sessions.attached()
    try:
        return sessions.filter(state__in=listed(",".join(wanted), [str(state) for state in SessionState]))
    except ValueError as error:
        raise InvalidParameters([invalid("state", str(error))]) from None


def wait_seconds(given: QueryDict) -> float:
    """`?wait=SECONDS`, at most as long as the setting allows; 0 when it is not given."""
    text = given.get("wait", "0")
    if NUMBER.fullmatch(text) is None:
        raise InvalidParameters([invalid("wait", "must be a number of seconds, 0 or more")])
    return min(float(text), config().max_wait_seconds)


def preferred_wait_seconds(headers: Mapping[str, str]) -> float:
    """Of `Prefer: wait=SECONDS`, at most as long as the setting allows; 0 when it is not there or not understood,
    for a preference that is not understood is to be ignored. Of several the first counts (RFC 7240)."""
    found = next(filter(None, map(PREFER_WAIT.fullmatch, headers.get("Prefer", "").split(","))), None)
    return min(float(found[2]), config().max_wait_seconds) if found else 0.0


def _unknown(known: Collection[str]) -> str:
    return f"unknown parameter; known are {', '.join(known)}" if known else "there are no parameters here"
