"""Finding tasks for operators: a page at a time, the newest first, in bounded time however many there are.

Nothing is counted. Tasks are in the order of their ids, in which they were made, and a page goes on where another
ended. What is asked for is looked for

- among the waiting or held tasks, where it can only be among them and their partial indexes say that they are few;
- in the index of the groups of errors, where it is of one;
- in the index of failed, cancelled and expired tasks, where it can only be there;
- else through all tasks, in portions that grow as long as there is time. When there is none any more, the page
  says how far the search has come, and another one begins there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import chain
from time import monotonic
from typing import Any
from uuid import UUID

from queueapp import deadlines, portions
from queueapp.domain.filter_values import ANYTHING
from queueapp.domain.states import LIVE_STATES, TERMINAL_STATES, UNSUCCESSFUL_STATES, TaskState
from queueapp.models import Route, Task
from queueapp.models.fields import first_id_at
from queueapp.operator_filters import created_within, held_by, values_of
from queueapp.portions import Portion, TimedWalk, Walk
from queueapp.querysets import TaskQuerySet
from queueapp.task_filters import selected

PAGE_SIZE = 50
FIRST_PORTION = 10_000
FEW_TASKS = 100_000
"""So many entries of an index are looked through in one statement."""
FIRST_OF_FEW = 1_000
FEW_ROUTES = 500
NEWEST_LOOKED_AT = 500
NEWEST_SECONDS = 0.1
BEHIND_ALL = UUID(int=2**128 - 1)
CLOCKS_APART = timedelta(minutes=10)
"""Ids are made by the clocks of the server processes, `created_at` by the database's."""


@dataclass(frozen=True, slots=True)
class Page:
    """`older` and `newer` are ids between which and the end of all tasks the next page lies; None: there is none.

    `looked_at`: after how many tasks the search was broken off, which then goes on at `older` or, where it was
    looking for newer ones, at `newer`; None if it was not.
    """

    ids: list[UUID]
    older: UUID | None = None
    newer: UUID | None = None
    looked_at: int | None = None


def page(
    document: Mapping[str, Any],
    at: datetime,
    *,
    before: UUID | None = None,
    after: UUID | None = None,
) -> Page:
    """The newest tasks that match all of the document (none: every task), made before that one; or, with `after`,
    those that come next after it. InvalidFilter says what cannot be used."""
    document = document or {"all": True}
    selected(Task.objects.none(), document, at=at)
    if after is None:
        return _older(_search(document, at, Walk(before)), before)
    found = _search(document, at, Walk(after, upwards=True))
    if len(found.ids) < PAGE_SIZE and found.broken_off_at is None:
        # The newest page: a full one, and not what was left over of it.
        return _older(_search(document, at, Walk(None)), None)
    ids = found.ids[:PAGE_SIZE][::-1]
    return Page(
        ids,
        older=ids[-1] if ids else after,
        newer=found.broken_off_at if len(found.ids) <= PAGE_SIZE else ids[0],
        looked_at=found.looked_at if found.broken_off_at else None,
    )


def newest(document: Mapping[str, Any], at: datetime, limit: int) -> list[UUID]:
    """So many of the newest that match, for who asks again and again: only the newest tasks are looked at, of
    those that ended badly where no other can match. CutOff where the filter is slow even so."""
    bad = document and _states(document) <= set(UNSUCCESSFUL_STATES)
    tasks = (Task.objects.unsuccessful() if bad else Task.objects.all()).order_by("-id")
    if not document or document.get("all") is True:
        return list(tasks.values_list("id", flat=True)[:limit])
    with deadlines.within(NEWEST_SECONDS):
        last = next(iter(tasks.values_list("id", flat=True)[NEWEST_LOOKED_AT - 1 : NEWEST_LOOKED_AT]), None)
        matching = selected(tasks if last is None else tasks.filter(id__gte=last), document, at=at)
        return list(matching.values_list("id", flat=True)[:limit])


@dataclass(frozen=True, slots=True)
class _Found:
    """At most one more than a page shows, in the order of the walk."""

    ids: list[UUID]
    looked_at: int = 0
    broken_off_at: UUID | None = None


def _older(found: _Found, before: UUID | None) -> Page:
    ids = found.ids[:PAGE_SIZE]
    newest = ids[0] if ids else before
    return Page(
        ids,
        older=ids[-1] if len(found.ids) > PAGE_SIZE else found.broken_off_at,
        newer=None if before is None else newest,
        looked_at=found.looked_at if found.broken_off_at else None,
    )


def _search(document: Mapping[str, Any], at: datetime, walk: Walk) -> _Found:
    few = _few(document)
    if few is not None:
        try:
            return _among(few, document, at, walk)
        except deadlines.CutOff:
            pass
    states = _states(document)
    all_tasks = Task.objects.unsuccessful() if states <= set(UNSUCCESSFUL_STATES) else Task.objects.all()
    if "error_group" in document:
        all_tasks = selected(Task.objects.all(), {"error_group": document["error_group"]}, at=at)
    return _in_portions(_made_in_time(all_tasks, document, at), document, at, walk)


def _states(document: Mapping[str, Any]) -> set[TaskState]:
    """In which a task that matches can be."""
    states = set(TaskState)
    if "state" in document:
        states &= {TaskState(state) for text in values_of(document["state"]) for state in text.split(",")}
    if "waiting" in document:
        states &= {TaskState.PENDING}
    if "finished" in document:
        states &= set(TERMINAL_STATES)
    return states


def _few(document: Mapping[str, Any]) -> list[TaskQuerySet] | None:
    """All that can match, in parts that indexes find; None if they may be many."""
    if "id" in document:
        return [Task.objects.filter(pk__in=values_of(document["id"]))]
    states = _states(document)
    if not states <= set(LIVE_STATES):
        return None
    parts = []
    if TaskState.PENDING in states:
        ready, *others = Task.objects.all().parts_of_pending()
        parts.append(_of_the_routes(ready, document))
        if "waiting" not in document:
            parts += others
    if TaskState.ASSIGNED in states:
        held = Task.objects.assigned()
        workers = values_of(document["worker"]) if "worker" in document else None
        parts.append(held if workers is None else held.filter(held_by(workers)))
    try:
        with deadlines.within(portions.STATEMENT_SECONDS):
            return parts if portions.are_few(parts, FEW_TASKS) else None
    except deadlines.CutOff:
        return None


def _of_the_routes(ready: TaskQuerySet, document: Mapping[str, Any]) -> TaskQuerySet:
    """Those on the routes of the names that are asked for, if these are not too many."""
    names = [name for text in values_of(document.get("name", "*")) for name in text.split(",")]
    if any(name.endswith(ANYTHING) for name in names):
        return ready
    routes = Route.objects.filter(name__in=names).values_list("id", flat=True)[: FEW_ROUTES + 1]
    return ready if len(routes) > FEW_ROUTES else ready.filter(route__in=list(routes))


def _among(parts: Sequence[TaskQuerySet], document: Mapping[str, Any], at: datetime, walk: Walk) -> _Found:
    """The next ones come from the indexes alone, and what else is asked for is asked of these."""
    until = monotonic() + portions.SECONDS
    ids: list[UUID] = []
    looked_at, size = 0, FIRST_OF_FEW
    while True:
        try:
            with deadlines.within(portions.STATEMENT_SECONDS):
                ahead = [walk.ahead_of_few(part).values_list("id", flat=True)[:size] for part in parts]
                next_ones = sorted(chain.from_iterable(ahead), reverse=not walk.upwards)[:size]
                matching = selected(Task.objects.filter(pk__in=next_ones), document, at=at)
                ids += sorted(matching.values_list("id", flat=True), reverse=not walk.upwards)
        except deadlines.CutOff:
            if not looked_at:
                raise
            return _Found(ids, looked_at, broken_off_at=walk.start)
        if len(next_ones) < size or len(ids) > PAGE_SIZE:
            return _Found(ids[: PAGE_SIZE + 1])
        walk = walk.beyond(next_ones[-1])
        looked_at += size
        if monotonic() > until:
            return _Found(ids, looked_at, broken_off_at=walk.start)
        size = FIRST_OF_FEW * portions.GROWTH


def _made_in_time(tasks: TaskQuerySet, document: Mapping[str, Any], at: datetime) -> TaskQuerySet:
    """Those of the tasks whose ids were made when the document says that they were created."""
    span = created_within(document, at) if document.get("all") is not True else None
    if span is not None and span.after is not None:
        tasks = tasks.filter(id__gte=first_id_at(_moved(span.after, -CLOCKS_APART)))
    if span is not None and span.before is not None:
        tasks = tasks.filter(id__lt=first_id_at(_moved(span.before, CLOCKS_APART)))
    return tasks


def _moved(moment: datetime, by: timedelta) -> datetime:
    try:
        return moment + by
    except OverflowError:  # at an end of the calendar, behind which nothing was made
        return moment


def _in_portions(all_tasks: TaskQuerySet, document: Mapping[str, Any], at: datetime, walk: Walk) -> _Found:
    matching = selected(all_tasks, document, at=at)
    ids: list[UUID] = []

    def read(portion: Portion) -> list[UUID]:
        wanted = PAGE_SIZE + 1 - len(ids)
        return list(portion.of(matching).values_list("id", flat=True)[:wanted])

    in_time = TimedWalk(walk, all_tasks, FIRST_PORTION)
    for found in in_time.read(read):
        ids += found
        if len(ids) > PAGE_SIZE:
            return _Found(ids)
    if in_time.is_complete:
        return _Found(ids)
    return _Found(ids, in_time.looked_at, broken_off_at=in_time.walk.start or BEHIND_ALL)
