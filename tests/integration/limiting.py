"""Passes under limits, and what they come to."""

from __future__ import annotations

from collections import Counter
from uuid import UUID

from fleet import Fleet, holder_of

from queueapp import naming, queues
from queueapp.models import Task

MANY = 100


def run(fleet: Fleet, **inbox) -> None:
    """Passes until there is nothing more to assign."""
    for _ in range(MANY):
        if not fleet.run(**inbox).more:
            return
        inbox = {}
    raise AssertionError("passes follow each other without an end")


def limit(name: str = "t", **limits: int | None) -> None:
    naming.make_queues([name])
    queues.configure(name, limits)


def running() -> list[UUID]:
    return list(Task.objects.assigned().order_by("id").values_list("id", flat=True))


def keys_running() -> Counter[str]:
    return Counter(Task.objects.assigned().values_list("concurrency_key", flat=True))


def finish(fleet: Fleet, task_id: UUID, **report) -> None:
    assert fleet.finish(holder_of(task_id), task_id, **report) == ["accepted"]
    run(fleet)
