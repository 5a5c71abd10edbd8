"""Whether the assignments of a pass are those of the contract's section 2, by `tests/unit/reference.py`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import reference

from stateful.model import Model, ModelTask, ModelWorker

Given = Mapping[UUID, UUID]
"""Task → the worker it was given to, in the order in which workers are told."""


def settle(model: Model, given: Given, routes: Container[UUID], is_full: bool, now: datetime) -> None:
    """Take over the assignments of a pass, in the contract's order, each checked against all that came before it.

    Of `routes` the pass knew: what it left of them was not to be had by anybody. A pass that `is_full` has not
    looked at what comes after the last that it gave to somebody.
    """
    in_order = sorted(ready(model), key=lambda task: task.order)
    last = max((turn for turn, task in enumerate(in_order, start=1) if task.id in given), default=0)
    for turn, task in enumerate(in_order, start=1):
        worker_id = given.get(task.id)
        if worker_id is None and (task.route not in routes or (is_full and turn > last)):
            continue
        if worker_id is None and task.concurrency_key is not None:
            continue  # It may have been let through for the next pass only: see `waiting_for_nothing`.
        right = choice(model, task, now, prefer=worker_id)
        assert right == worker_id, (
            f"{task} went to {model.workers.get(worker_id)}, and was for {model.workers.get(right)}"
        )
        if worker_id is not None:
            task.give_to(worker_id, now)
            # All at one time: of those that were given something, the one whose turn came first is idle longest.
            model.workers[worker_id].idle_since = now
            model.workers[worker_id].turn = turn
    for worker in model.workers.values():
        worker.turn = 0
    untrue = [task_id for task_id in given if model.tasks[task_id].holder != given[task_id]]
    assert not untrue, f"{[model.tasks[i] for i in untrue]} were not ready"
    assert list(given) == [task.id for task in in_order if task.id in given], "They were told in another order."


def waiting_for_nothing(model: Model, now: datetime, routes: Container[UUID] | None = None) -> list[ModelTask]:
    """The ready tasks (of the routes) that somebody with room may take now. Of those with a key and a route in
    common, only as many come into question as the key has room for: they wait in one line."""
    lines: Counter[tuple[UUID, str]] = Counter()
    waiting = []
    for task in sorted(ready(model), key=lambda task: task.order):
        if task.concurrency_key is not None:
            lines[task.route, task.concurrency_key] += 1
            if lines[task.route, task.concurrency_key] > room(model, task):
                continue
        if (routes is None or task.route in routes) and choice(model, task, now) is not None:
            waiting.append(task)
    return waiting


def ready(model: Model) -> list[ModelTask]:
    return [task for task in model.tasks.values() if task.ready and task.name not in model.paused]


def is_matched(model: Model, task: ModelTask) -> bool:
    return bool(reference.levels_of(fleet(model), {"name": task.name, "attrs": task.attrs}))


def is_matched_by(worker: ModelWorker, task: ModelTask) -> bool:
    described = {"name": task.name, "attrs": task.attrs}
    return any(reference.matches(subscription, described) for subscription in worker.subscriptions)


def choice(model: Model, task: ModelTask, now: datetime, prefer: UUID | None = None) -> Any:
    """Who takes the task. Where the contract leaves it open, `prefer`, if it is one of those."""
    if not room(model, task):
        return None
    described = {
        "name": task.name,
        "attrs": task.attrs,
        "waited": (now - task.waiting_since).total_seconds(),
        "spill_after": task.spill_after,
        "avoid": task.avoid,
    }
    return reference.choose(fleet(model, prefer), described)


def room(model: Model, task: ModelTask) -> float:
    """How many like it the limits of its queue and key leave room for."""
    running = [_limited(other) for other in model.tasks.values() if other.holder is not None]
    return reference.room(model.limits, running, _limited(task))


def _limited(task: ModelTask) -> dict[str, Any]:
    return {"name": task.name, "key": task.concurrency_key}


def fleet(model: Model, first: UUID | None = None) -> list[dict[str, Any]]:
    """The workers that take part in choices, as the reference describes them: of equals it takes the first."""
    outstanding = Counter(task.holder for task in model.tasks.values())
    online = [worker for worker in model.workers.values() if worker.state == "online"]
    return [
        {
            "id": worker.id,
            "subscriptions": worker.subscriptions,
            "outstanding": outstanding[worker.id],
            "max_outstanding": worker.max_outstanding,
            "idle_since": (worker.idle_since, worker.turn),
        }
        for worker in sorted(online, key=lambda worker: worker.id != first)
    ]
