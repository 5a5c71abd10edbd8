"""What must hold at the end, each computed a second time without the queue."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from examples.tagging import tagged_with_evidence

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Check:
    """`claim` in words, whether it `holds`, and the figures behind it."""

    claim: str
    holds: bool
    figures: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """All that the server says at the end. `workers`: session id to name; `attempts`: task id to the recorded
    attempts of the tasks that took more than one; `killed`: the name of the worker that was."""

    tasks: list[Json]
    workers: dict[str, str]
    attempts: dict[str, list[Json]]
    killed: str

    def worker_of(self, task: Json) -> str:
        return self.workers.get(task["worker"], "?")

    def of(self, name: str) -> list[Json]:
        return [task for task in self.tasks if task["name"] == name]


def every_task_succeeded(outcome: Outcome, ids: Sequence[str]) -> Check:
    succeeded = {task["id"] for task in outcome.tasks if task["state"] == "succeeded"}
    return Check(
        "Every submitted task has succeeded",
        succeeded == set(ids) and len(outcome.tasks) == len(ids),
        f"{len(succeeded)} of {len(ids)}",
    )


def lost_tasks_were_done_by_others(outcome: Outcome) -> Check:
    by_id = {task["id"]: task for task in outcome.tasks}
    lost = {
        task_id
        for task_id, attempts in outcome.attempts.items()
        for attempt in attempts
        if attempt["outcome"] == "lost" and outcome.workers.get(attempt["worker"]) == outcome.killed
    }
    by_others = {task_id for task_id in lost if outcome.worker_of(by_id[task_id]) != outcome.killed}
    return Check(
        f"What {outcome.killed} held when it was killed was done by others",
        bool(lost) and by_others == lost,
        f"{len(lost)} lost, {len(by_others)} of them done by others",
    )


def the_most_specific_worker_was_chosen(outcome: Outcome, specific: str) -> Check:
    """Every aws/123 task by the worker with that filter, and no other by it."""
    tasks = outcome.of("tag")
    specials = [task for task in tasks if task["attrs"] == {"cloud": "aws", "account": "123"}]
    rightly = [task for task in specials if outcome.worker_of(task) == specific]
    by_it = [task for task in tasks if outcome.worker_of(task) == specific]
    return Check(
        f"{specific} did every task of aws/123, and no other",
        bool(specials) and len(rightly) == len(specials) == len(by_it),
        f"{len(rightly)} of {len(specials)}, {len(by_it)} by it in all",
    )


def tags_equal_those_of_one_process(outcome: Outcome, inventory: Sequence[Json]) -> Check:
    results = {task["result"]["id"]: task["result"] for task in outcome.of("tag") if task["result"]}
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        expected = list(threads.map(tagged_with_evidence, inventory))
    equal = sum(results.get(resource["id"]) == resource for resource in expected)
    changed = sum(after["tags"] != before["tags"] for after, before in zip(expected, inventory, strict=True))
    return Check(
        "The tagged inventory is what one process computes alone",
        equal == len(expected) == len(results),
        f"{equal} of {len(expected)} equal, {changed} resources have other tags than before",
    )


def checksums_equal_hashlib(outcome: Outcome, root: Path, paths: Sequence[str]) -> Check:
    results = {task["result"]["path"]: task["result"] for task in outcome.of("checksum") if task["result"]}
    equal = 0
    for path in paths:
        content = (root / path).read_bytes()
        result = results.get(path, {})
        expected = (hashlib.sha256(content).hexdigest(), len(content), len(content.splitlines()))
        equal += (result.get("sha256"), result.get("size"), result.get("lines")) == expected
    return Check(
        "The checksums are those of hashlib", equal == len(paths) == len(results), f"{equal} of {len(paths)} files"
    )


def write_inventory(outcome: Outcome, inventory: Sequence[Json], path: Path) -> None:
    """The tagged resources as JSON lines, in the order of the inventory."""
    results = {task["result"]["id"]: task["result"] for task in outcome.of("tag") if task["result"]}
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        for resource in inventory:
            if resource["id"] in results:
                file.write(json.dumps(results[resource["id"]], ensure_ascii=False) + "\n")
