"""Section 2 of the contract, word for word: one task at a time, over plain dicts, with no thought of speed. And
the limits of queues and keys, by which a task may have to wait although a worker has room.

A worker is `{"id", "subscriptions", "outstanding", "max_outstanding", "idle_since"}`, a subscription
`{"name", "filter": {criterion: [value, …]}}`, a task `{"name", "attrs"}` and, where it matters, `"waited"`,
`"spill_after"`, `"avoid"` and `"key"`, its concurrency key. Limits are `{name: {"all": n, "of_key": n}}`: what is
missing is no limit of the queue, and one task of a key.
"""

from __future__ import annotations

import math
from typing import Any


def matches(subscription: dict[str, Any], task: dict[str, Any]) -> bool:
    if subscription["name"] != task["name"]:
        return False
    for criterion, accepted in subscription["filter"].items():
        if criterion not in task["attrs"]:
            return False
        if task["attrs"][criterion] not in accepted:
            return False
    return True


def specificity_of(worker: dict[str, Any], task: dict[str, Any]) -> int | None:
    """That of the worker's most specific matching subscription; None if none matches."""
    best = None
    for subscription in worker["subscriptions"]:
        if matches(subscription, task):
            specificity = len(subscription["filter"])
            if best is None or specificity > best:
                best = specificity
    return best


def levels_of(fleet: list[dict[str, Any]], task: dict[str, Any]) -> list[list[dict[str, Any]]]:
    """The workers that match, by specificity, highest first."""
    specificities = {worker["id"]: specificity_of(worker, task) for worker in fleet}
    present = sorted({s for s in specificities.values() if s is not None}, reverse=True)
    return [[worker for worker in fleet if specificities[worker["id"]] == s] for s in present]


def levels_allowed(task: dict[str, Any]) -> int | None:
    """How many levels may be used; None for all of them."""
    spill_after = task.get("spill_after")
    if spill_after is None:
        return 1
    if spill_after == 0:
        return None
    levels, spills_at = 1, spill_after
    while spills_at <= task["waited"]:
        levels, spills_at = levels + 1, spills_at + spill_after
    return levels


def choose(fleet: list[dict[str, Any]], task: dict[str, Any]) -> Any:
    """The id of the worker that takes the task, None while it has to wait."""
    for level in levels_of(fleet, task)[: levels_allowed(task)]:
        with_room = [worker for worker in level if worker["outstanding"] < worker["max_outstanding"]]
        others = [worker for worker in with_room if worker["id"] not in task.get("avoid", ())]
        candidates = others or with_room
        if candidates:
            return min(candidates, key=lambda worker: (worker["outstanding"], worker["idle_since"]))["id"]
    return None


def room(limits: dict[str, dict[str, int]], running: list[dict[str, Any]], task: dict[str, Any]) -> float:
    """How many more like it may be assigned while those are running."""
    own = limits.get(task["name"], {})
    of_queue = [other for other in running if other["name"] == task["name"]]
    left = own.get("all", math.inf) - len(of_queue)
    if task.get("key") is not None:
        left = min(left, own.get("of_key", 1) - len([o for o in of_queue if o.get("key") == task["key"]]))
    return max(0, left)


def give(fleet: list[dict[str, Any]], tasks: list[dict[str, Any]], now: float) -> list[Any]:
    """Who takes each task, one after another, the first at `now`: a worker that is given one is idle no longer."""
    chosen = []
    for later, task in enumerate(tasks):
        worker_id = choose(fleet, task)
        for worker in fleet:
            if worker["id"] == worker_id:
                worker["outstanding"] += 1
                worker["idle_since"] = now + later
        chosen.append(worker_id)
    return chosen
