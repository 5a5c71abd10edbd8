"""Which tasks an operator means: the filters of the admin's bar as conditions. `domain.filter_text` reads them.

Those of the API's lists are among them, and mean the same of one text; here several are any of them.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from functools import reduce
from typing import Any
from uuid import UUID

from django.db.models import Q, Value
from django.db.models.lookups import Exact

from queueapp.database import ArrayHas, JsonAt, Literal, ObjectHas
from queueapp.domain.filter_values import (
    ANYTHING,
    ATTRIBUTE,
    CONTAINS,
    DATA,
    UNGROUPED,
    Span,
    check,
    parse_age,
    parse_data_path,
    parse_span,
    parse_time,
)
from queueapp.domain.ids import as_id
from queueapp.domain.states import TaskState
from queueapp.models import WorkerSession

Condition = Callable[[Sequence[str], datetime], Q]


def condition(name: str, values: Sequence[str], at: datetime) -> Q | None:
    """What the tasks must meet; None if there is no such filter. ValueError says what is wrong with the values."""
    make = _condition_named(name)
    if make is None:
        return None
    check(name, values)
    return make(values, at)


def values_of(value: Any) -> list[str]:
    """Of a member of a document: a text is one value, whatever is in it."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return value
    raise ValueError("must be a string or a list of strings")


def of_workers(sessions: Collection[UUID] | Any) -> Q:
    """What the workers hold, and what has ended on them: as a task's document reads."""
    return Q(worker__in=sessions) | Q(last_worker__in=sessions, finished_at__isnull=False)


def created_within(document: Mapping[str, Any], at: datetime) -> Span:
    """When the tasks of a usable document were created, as far as it says so."""
    span = Span()
    for name, read in _CREATED.items():
        if name in document:
            span = span.within(read(values_of(document[name]), at))
    return span


def _any(conditions: Sequence[Q]) -> Q:
    return reduce(operator.or_, conditions)


def _by_state(values: Sequence[str], at: datetime) -> Q:
    return Q(state__in=values)


def _by_name(values: Sequence[str], at: datetime) -> Q:
    beginnings = [value.removesuffix(ANYTHING) for value in values if value.endswith(ANYTHING)]
    names = [value for value in values if not value.endswith(ANYTHING)]
    return _any([*([Q(name__in=names)] if names else []), *(Q(name__startswith=start) for start in beginnings)])


def held_by(workers: Sequence[str]) -> Q:
    """What these workers, by name or id, hold now."""
    return _any([Q(worker__in=sessions) for sessions in _sessions(workers)])


def _by_worker(values: Sequence[str], at: datetime) -> Q:
    return _any([of_workers(sessions) for sessions in _sessions(values)])


def _sessions(workers: Sequence[str]) -> list[Any]:
    """Those with these ids, whose rows may have been pruned, and those of the rows with these names."""
    ids = [session_id for value in workers if (session_id := as_id(value)) is not None]
    names = [value for value in workers if as_id(value) is None]
    # As the index of names says it, which leaves out the many that have none.
    named = WorkerSession.objects.filter(name__in=names).exclude(name="").values("pk")
    return [*([ids] if ids else []), *([named] if names else [])]


def _by_tag(values: Sequence[str], at: datetime) -> Q:
    return _any([Q(ArrayHas("tags", Value(value))) for value in values])


def _by_error(values: Sequence[str], at: datetime) -> Q:
    (value,) = values
    return Q(error__icontains=value.removeprefix(CONTAINS)) if value.startswith(CONTAINS) else Q(error=value)


def _by_error_group(values: Sequence[str], at: datetime) -> Q:
    """As the partial indexes say it."""
    groups = [Q(error_group=UUID(value)) for value in values if value != UNGROUPED]
    ungrouped = [Q(error_group__isnull=True)] if UNGROUPED in values else []
    return Q(state=Literal(TaskState.FAILED)) & _any([*groups, *ungrouped])


def _by_waiting(values: Sequence[str], at: datetime) -> Q:
    ready = Q(state=str(TaskState.PENDING), delayed_until__isnull=True, held_back=False)
    return ready & _within("waiting_since", _span_of_age(values, at))


def _by_finished(values: Sequence[str], at: datetime) -> Q:
    return _within("finished_at", _span_of_age(values, at))


def _by_id(values: Sequence[str], at: datetime) -> Q:
    return Q(pk__in=[UUID(value) for value in values])


def _by_attribute(criterion: str) -> Condition:
    return lambda values, at: _any([Q(ObjectHas("route__attrs", Value(criterion), Value(v))) for v in values])


def _by_data(member: str) -> Condition:
    at_path = JsonAt("data", parse_data_path(member))
    return lambda values, at: _any([Q(Exact(at_path, Value(value))) for value in values])


def _span_of_age(values: Sequence[str], at: datetime) -> Span:
    (value,) = values
    age = parse_age(value)
    return Span(before=at - age.duration) if age.is_over else Span(after=at - age.duration)


def _within(column: str, span: Span) -> Q:
    bounds = {f"{column}__gte": span.after, f"{column}__lt": span.before}
    return Q(**{lookup: moment for lookup, moment in bounds.items() if moment is not None})


_CREATED: dict[str, Callable[[Sequence[str], datetime], Span]] = {
    "age": _span_of_age,
    "created": lambda values, at: parse_span(values[0]),
    "created_after": lambda values, at: Span(after=parse_time(values[0])),
    "created_before": lambda values, at: Span(before=parse_time(values[0])),
}
_CONDITIONS: dict[str, Condition] = {
    "state": _by_state,
    "name": _by_name,
    "worker": _by_worker,
    "tag": _by_tag,
    "error": _by_error,
    "error_group": _by_error_group,
    "waiting": _by_waiting,
    "finished": _by_finished,
    "id": _by_id,
}

KNOWN_FILTERS = (*_CONDITIONS, *_CREATED, f"{ATTRIBUTE}<criterion>", f"{DATA}<path>")


def _condition_named(name: str) -> Condition | None:
    if name.startswith(ATTRIBUTE):
        return _by_attribute(name.removeprefix(ATTRIBUTE))
    if name.startswith(DATA):
        return _by_data(name)
    if (span := _CREATED.get(name)) is not None:
        return lambda values, at: _within("created_at", span(values, at))
    return _CONDITIONS.get(name)
