"""What a page that is watched shows of this moment, for JSON: of one thing what its page brings up to date with
it, of a list the values in the rows that are shown, and how many belong there that are not.

Each is asked for once a second: by primary keys and from indexes, in a fixed number of statements.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from time import monotonic, thread_time
from typing import Any
from uuid import UUID
from zlib import crc32

from queueapp import database, deadlines, error_groups, overview, searching, standing, statements
from queueapp.conf import config
from queueapp.domain import filter_text
from queueapp.domain.minutes import of_last_minute
from queueapp.models import Operation, Queue, Task, WorkerSession
from queueapp.overview import Problem
from queueapp.standing import Standing, pause_line
from queueapp.statements import NAMED
from queueapp.subjects import Subject

PAGE_SIZE = searching.PAGE_SIZE
"""Rows that a full page of any list has."""
NEWER = 100
"""That are counted."""

PROBLEMS_SECONDS = 10.0
PROBLEMS_SHARE = 0.02
"""To explain what waits takes a pass in thought for each route. Over a large fleet it is done less often than
every ten seconds, so that it takes no more of a core than this."""


def make(subject: Subject) -> Any:
    """None of a thing that is not there, or not any more."""
    return _MAKERS[subject.kind](subject)


# ---- the overview


class _Overview:
    """Explains what is wrong less often than it counts."""

    def __init__(self) -> None:
        self.problems: Sequence[Problem] = ()
        self.explain_at = 0.0

    def make(self, _: Subject) -> dict[str, Any]:
        now, waiting = database.now(), overview.backlogs()
        if monotonic() >= self.explain_at:
            begun_at = thread_time()
            self.problems = overview.problems(now, waiting)
            pause = max(PROBLEMS_SECONDS, (thread_time() - begun_at) / PROBLEMS_SHARE)
            self.explain_at = monotonic() + pause
        return overview.snapshot(now, self.problems, waiting)


_overview = _Overview()


def forget() -> None:
    """What is wrong is worked out again: for tests, whose rows come and go."""
    _overview.explain_at = 0.0


# ---- one thing


def _task(subject: Subject) -> dict[str, Any] | None:
    rows = Task.objects.filter(pk=subject.key).order_by()
    return next(map(dict, rows.values("state", "attempt", "progress", "progress_message")), None)


def _operation(subject: Subject) -> dict[str, Any] | None:
    return _operations_of([subject.key]).get(str(subject.key))


def _queue(subject: Subject) -> dict[str, Any] | None:
    queue = Queue.objects.filter(pk=subject.key).first()
    if queue is None:
        return None
    now = database.now()
    own, _ = standing.standing(queue, now)
    return _standing(queue, own, now)


def _worker(subject: Subject) -> dict[str, Any] | None:
    """`heartbeat`: how many seconds ago its process gave one, if both are there. `held` is another when what it
    holds is."""
    worker = _workers_of([subject.key]).get(str(subject.key))
    session = WorkerSession.objects.select_related("node").defer("reach").filter(pk=subject.key).first()
    if worker is None or session is None:
        return None
    held = Task.objects.held_by([session.pk]).order_by("id").values_list("id", "attempt", "progress")
    ago = database.now() - session.node.lease_until + timedelta(seconds=config().lease_seconds)
    lives = session.gone_at is None and session.node.stopped_at is None
    return {
        **worker,
        "stale_results": session.stale_results,
        "heartbeat": max(0, round(ago.total_seconds())) if lives else None,
        "held": _mark(held),
    }


def _mark(rows: Iterable[tuple[Any, ...]]) -> str:
    """Another for other rows, and the same in each process: a hash of Python's is not, and a page hears from one
    after another."""
    return str(crc32(repr(list(rows)).encode()))


# ---- lists


def _tasks(subject: Subject) -> dict[str, Any]:
    rows = Task.objects.filter(pk__in=subject.rows).order_by().values_list("id", "state", "attempt")
    found = {str(task_id): {"state": state, "attempt": attempt} for task_id, state, attempt in rows}
    return _list(subject, found, _newest_tasks(subject.text) if subject.is_beginning else None)


def _newest_tasks(text: str) -> Sequence[UUID] | None:
    reading = filter_text.parse(text)
    try:
        return None if reading.problems else searching.newest(reading.document, database.now(), NEWER + 1)
    except deadlines.CutOff:
        return None


def _operations(subject: Subject) -> dict[str, Any]:
    newest = Operation.objects.order_by("-id").values_list("id", flat=True)[: NEWER + 1]
    return _list(subject, _operations_of(subject.rows), newest if subject.is_beginning else None)


def _operations_of(ids: Iterable[UUID]) -> dict[str, dict[str, Any]]:
    return {
        str(operation.pk): {
            "state": operation.state,
            "total": operation.total,
            "done": operation.done,
            "unchanged": operation.unchanged,
            "is_counted": operation.counted_at is not None,
        }
        for operation in Operation.objects.filter(pk__in=list(ids)).order_by().defer("filter", "names")
    }


def _workers(subject: Subject) -> dict[str, Any]:
    attached = WorkerSession.objects.attached().order_by("-id").values_list("id", flat=True)[: NEWER + 1]
    return _list(subject, _workers_of(subject.rows), attached if subject.is_beginning else None)


def _workers_of(ids: Iterable[UUID]) -> dict[str, dict[str, Any]]:
    rows = statements.rows_of(
        ids,
        f"""
        SELECT session.id, session.state, session.max_outstanding, session.done, session.errors,
            session.counted_minute, session.ended_in_minute, session.ended_in_previous,
            (SELECT COUNT(*) FROM queueapp_task AS task WHERE task.worker_id = session.id)
        FROM queueapp_workersession AS session WHERE session.id IN ({NAMED})
        """,
    )
    now = database.now()
    return {
        str(database.as_uuid(session_id)): {
            "state": state,
            "outstanding": outstanding,
            "max_outstanding": max_outstanding,
            "done": done,
            "errors": errors,
            "per_minute": of_last_minute(minute, in_minute, in_previous, now),
        }
        for session_id, state, max_outstanding, done, errors, minute, in_minute, in_previous, outstanding in rows
    }


def _queues(subject: Subject) -> dict[str, Any]:
    now = database.now()
    rows = list(Queue.objects.filter(name__in=subject.rows))
    found = standing.standings(rows, now)
    values = {queue.name: _standing(queue, found[queue.name], now) for queue in rows}
    if not subject.is_beginning:
        return _list(subject, values)
    names = list(Queue.objects.order_by("name").values_list("name", flat=True)[: NEWER + 1])
    if len(subject.rows) >= PAGE_SIZE and subject.rows[-1] in names:
        names = names[: names.index(subject.rows[-1])]  # in the order of the database
    return {"rows": _found(subject, values), **_counted(set(names) - set(subject.rows))}


def _standing(queue: Queue, own: Standing, now: datetime) -> dict[str, Any]:
    since = own.oldest_since
    return {
        "health": own.health,
        "waiting": f"{own.waiting}{'' if own.is_exact else '+'}",
        "oldest_wait": None if since is None else max(0, int((now - since).total_seconds())),
        "assigned": own.assigned,
        "workers": own.workers,
        "paused": queue.paused,
        "pause": pause_line(queue),
    }


def _errors(subject: Subject) -> dict[str, Any]:
    """`more`: how many of a cause there are since then."""
    more = error_groups.since(subject.since, NEWER) if subject.since else {}
    known = set(subject.rows)
    return {
        "rows": {str(group): {"more": more.get(group, 0)} for group in subject.rows},
        "newer": sum(more.values()),
        "newer_is_exact": sum(more.values()) < NEWER,
        "causes": len(more.keys() - known),
    }


def _list(subject: Subject, found: Mapping[str, Any], newest: Collection[UUID] | None = None) -> dict[str, Any]:
    """`newest`: those at the list's beginning, in the order of their ids, from the latest back."""
    rows = _found(subject, found)
    if newest is None:
        return {"rows": rows, "newer": None}
    last = min(subject.rows) if len(subject.rows) >= PAGE_SIZE else None
    return {"rows": rows, **_counted({key for key in newest if last is None or key > last} - set(subject.rows))}


def _found(subject: Subject, found: Mapping[str, Any]) -> dict[str, Any]:
    return {str(key): found.get(str(key)) for key in subject.rows}


def _counted(newer: Collection[Any]) -> dict[str, Any]:
    return {"newer": min(len(newer), NEWER), "newer_is_exact": len(newer) <= NEWER}


_MAKERS: Mapping[str, Callable[[Subject], Any]] = {
    "overview": _overview.make,
    "task": _task,
    "tasks": _tasks,
    "worker": _worker,
    "workers": _workers,
    "queue": _queue,
    "queues": _queues,
    "operation": _operation,
    "operations": _operations,
    "errors": _errors,
}
