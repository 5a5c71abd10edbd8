"""What can be done about a task that is where it is, with the page on which it is done."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, assert_never
from urllib.parse import urlencode

from queueapp.admin.display import list_of, page_of
from queueapp.admin.links import CHANGING_IN_BULK, bulk, page_named
from queueapp.domain.explanation import Explanation
from queueapp.domain.reasons import Cause
from queueapp.domain.states import Action, TaskState
from queueapp.models import Queue, Task, WorkerSession
from queueapp.subjects import ERRORS, OVERVIEW


@dataclass(frozen=True, slots=True)
class Remedy:
    """`address` is that of a page, which `text` names, and `needs` the permissions that it takes; without one the
    text is all. `code`: to be copied."""

    text: str
    address: str | None = None
    code: str | None = None
    needs: tuple[str, ...] = ()


SEEING_TASKS, SEEING_QUEUES, SEEING_WORKERS = (
    (f"queueapp.view_{model._meta.model_name}",) for model in (Task, Queue, WorkerSession)
)


def remedies(task: Task, explanation: Explanation, user: Any) -> list[Remedy]:
    """The nearest first, each once; for the user, without pages that are not open to it."""
    found = dict.fromkeys(
        remedy for reason in explanation.reasons for remedy in _remedies(reason.cause, task, explanation)
    )
    if task.state == TaskState.FAILED and task.error_group is not None:
        address = bulk({"error_group": str(task.error_group)}, action=str(Action.RETRY))
        found[Remedy("retry all that failed by this cause", address, needs=CHANGING_IN_BULK)] = None
    usable = [remedy for remedy in found if remedy.address is not None or remedy.code is not None]
    return [remedy for remedy in usable if user.has_perms(remedy.needs)]


def _remedies(cause: Cause, task: Task, explanation: Explanation) -> Iterator[Remedy]:
    name = task.name
    match cause:
        case Cause.PAUSED:
            yield Remedy(f"resume queue {name}", page_of(Queue, name), needs=SEEING_QUEUES)
        case Cause.CONCURRENCY:
            yield Remedy(f"raise the limits of queue {name}", page_of(Queue, name), needs=SEEING_QUEUES)
        case Cause.NO_WORKER | Cause.NO_MATCH | Cause.DRAINING:
            yield from _unmatched(task, explanation)
        case Cause.FULL | Cause.SPILL:
            yield Remedy(
                f"see how full the workers of {name} are",
                list_of(WorkerSession, offers=name),
                needs=SEEING_WORKERS,
            )
            yield Remedy("more workers that attach with", code=_query(task))
        case Cause.BEHIND:
            yield Remedy(
                "see what is ahead of it", list_of(Task, q=f"state:pending name:{name}"), needs=SEEING_TASKS
            )
        case Cause.ASSIGNED:
            yield Remedy("see its worker", page_of(WorkerSession, task.worker_id), needs=SEEING_WORKERS)
        case Cause.FINISHED:
            yield from _finished(task)
        case Cause.DELAYED | Cause.BACKOFF | Cause.READY:
            pass  # time does it
        case _:
            assert_never(cause)


def _unmatched(task: Task, explanation: Explanation) -> Iterator[Remedy]:
    if explanation.nearest is not None:
        nearest = explanation.nearest.worker
        yield Remedy(
            f"see the worker that comes nearest, {nearest}",
            page_of(WorkerSession, nearest.id),
            needs=SEEING_WORKERS,
        )
    yield Remedy(f"see who offers {task.name}", list_of(WorkerSession, offers=task.name), needs=SEEING_WORKERS)
    yield Remedy("see what is covered by whom", page_named("coverage", name=task.name), needs=OVERVIEW)
    yield Remedy("try other attributes", page_named("sandbox", task=str(task.pk)), needs=OVERVIEW)
    yield Remedy("it would be taken by a worker that attaches with", code=_query(task))


def _finished(task: Task) -> Iterator[Remedy]:
    if task.state == TaskState.FAILED and task.error_group is not None:
        group = str(task.error_group)
        errors = page_named("errors", window="all")
        yield Remedy(
            "see the others that failed by this cause", errors and f"{errors}#group-{group}", needs=ERRORS
        )


def _query(task: Task) -> str | None:
    """None where it cannot be said in a query: there commas part values."""
    attrs = sorted(task.route.attrs.items())
    if any("," in value or name.startswith("_") or name == "task" for name, value in attrs):
        return None
    return f"/work/queue?{urlencode([('task', task.name), *attrs])}"
