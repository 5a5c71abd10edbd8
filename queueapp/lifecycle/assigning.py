"""The edge from pending to assigned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from django.db import transaction

from queueapp import counters, database, statements
from queueapp.lifecycle import activity
from queueapp.statements import NAMED, Given, Returned

LARGE_BYTES = 32 * 1024
"""Larger data is not read where hundreds of tasks are assigned at once, but when its worker has room for it."""

_CHOICES = Given("choice", task_id="uuid", session_id="uuid", until="timestamptz", capacity="integer")


ANY = 0
"""In place of a capacity: whatever it is."""

_ONLINE = "state = 'online'"
"""Without `gone_at IS NULL`, which it implies: else a session would be looked for among all that are attached, in
the partial index of those."""


class WorkersChanged(Exception):
    """A worker that was chosen is not what it was read to be: read again, and choose anew."""


class Choice(NamedTuple):
    """The dispatcher's decision for one task."""

    task_id: UUID
    session_id: UUID
    deadline: datetime


class Assigned(NamedTuple):
    """A task as its new holder is to be told. `data` is JSON text; None: it is large, and was not read."""

    task_id: UUID
    session_id: UUID
    route_id: UUID
    name: str
    data: str | None
    attempt: int
    timeout_seconds: float
    deadline: datetime
    priority: int
    traceparent: str
    waiting_since: datetime


_ASSIGNED = Returned(Assigned)


def assign(
    choices: Sequence[Choice], now: datetime, capacities: Mapping[UUID, int] | None = None
) -> list[Assigned]:
    """Give each task to the worker chosen for it. Those that are no longer ready are left out; the others come in
    the order of the choices, in which their workers are to be told of them.

    The caller holds the dispatch lock, so that no other decision uses the same room, and none of the workers goes
    before its tasks are its own. `capacities`: what they were counted on to hold. WorkersChanged: one of them is
    not online any more, or has another; then nothing is to be committed.
    """
    if not choices:
        return []
    rows = [(*choice, capacities[choice.session_id] if capacities else ANY) for choice in choices]
    with transaction.atomic(savepoint=False):
        assigned = _ASSIGNED.rows(_statement(), [_CHOICES.rows(rows), *activity.times(now)])
        if capacities and len(assigned) < len(choices):
            _check({choice.session_id: capacities[choice.session_id] for choice in choices})
        counters.waits.add_after_commit((now - task.waiting_since).total_seconds() for task in assigned)
        if not database.is_postgresql():
            activity.note(activity.GIVEN, {task.session_id for task in assigned}, now)
    places = {choice.task_id: place for place, choice in enumerate(choices)}
    assigned.sort(key=lambda task: places[task.task_id])
    return assigned


def _check(capacities: Mapping[UUID, int]) -> None:
    online = statements.rows_of(
        capacities,
        f"SELECT id, max_outstanding FROM queueapp_workersession WHERE id IN ({NAMED}) AND {_ONLINE}",
    )
    if {database.as_uuid(session_id): capacity for session_id, capacity in online} != capacities:
        raise WorkersChanged


def _statement() -> str:
    return _CHOICES.update_tasks(
        """
        state = 'assigned', worker_id = choice.session_id, last_worker_id = choice.session_id,
        attempt = task.attempt + 1, assigned_at = %s, deadline = choice.until,
        progress = NULL, progress_message = ''
        """,
        "task.state = 'pending' AND task.delayed_until IS NULL AND NOT task.held_back",
        _ASSIGNED.columns("id", "last_worker_id", "route_id", "name", data_unless_large(), *Assigned._fields[5:]),
        among=f"""
        (SELECT choice.capacity IN ({ANY}, holder.max_outstanding) FROM queueapp_workersession AS holder
        WHERE holder.id = choice.session_id AND {_ONLINE})
        """,
        beside=activity.noting(activity.GIVEN),
    )


def data_unless_large(column: str = "data") -> str:
    return f"CASE WHEN {database.octets(column)} <= {LARGE_BYTES} THEN {column} END"
