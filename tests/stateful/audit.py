"""Whether the rows say what the model says, and what must be true of rows whatever the model says."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import datetime
from typing import Any
from uuid import UUID

from queueapp.models import Activity, Attempt, Node, Task, WorkerSession
from stateful.model import Model, ModelTask

Ended = dict[UUID, dict[str, Any]]
"""Rows of terminal tasks as they were when last looked at."""

PLAIN = {  # column → member of the model's task
    "state": "state",
    "reason": "reason",
    "worker_id": "holder",
    "attempt": "attempt",
    "attempts_used": "used",
    "available_at": "available_at",
    "delayed_until": "delayed_until",
    "waiting_since": "waiting_since",
    "deadline": "deadline",
    "finished_at": "finished_at",
    "expires_at": "expires_at",
    "result": "result",
    "progress": "progress",
}


def audit(model: Model, ended: Ended) -> None:
    rows = {row["id"]: row for row in Task.objects.values()}
    sessions = list(WorkerSession.objects.with_outstanding().values())
    nodes = set(Node.objects.running().values_list("id", flat=True))
    assert rows.keys() == model.tasks.keys()
    _ended_once(rows, ended)
    there = {row["id"]: row for row in sessions if row["gone_at"] is None}
    for row in there.values():
        assert row["node_id"] in nodes or row["state"] == "draining", f"goes on without a process: {row}"
    for row in rows.values():
        assert row["worker_id"] is None or row["worker_id"] in there, f"held by nobody: {row}"
        assert row["attempts_used"] <= min(row["attempt"], row["max_attempts"]), row
    for task in model.tasks.values():
        _agree_on_task(task, rows[task.id])
    _agree_on_attempts(model)
    _agree_on_workers(model, sessions, Counter(row["worker_id"] for row in rows.values()))
    assert nodes == {node.id for node in model.nodes.values() if node.running}


def _ended_once(rows: dict[UUID, dict[str, Any]], ended: Ended) -> None:
    """`ended` loses a task only when it is retried explicitly, and gains those that have ended."""
    for task_id, row in ended.items():
        assert rows[task_id] == row, f"the terminal task has changed: {row} is now {rows[task_id]}"
    ended.update((task_id, row) for task_id, row in rows.items() if row["finished_at"] is not None)


def _agree_on_task(task: ModelTask, row: dict[str, Any]) -> None:
    if task.backoff_ends is not None:
        soonest, latest = task.backoff_ends
        assert row["delayed_until"] is not None
        assert soonest <= row["delayed_until"] <= latest, f"backoff of {task}: {row['delayed_until']}"
        task.delayed_until = task.waiting_since = task.available_at = row["delayed_until"]
        task.backoff_ends = None
    said = {column: row[column] for column in PLAIN}
    expected = {column: getattr(task, member) for column, member in PLAIN.items()}
    assert said == expected, f"{task}: the row says {_differences(said, expected)}"
    assert {UUID(worker) for worker in row["avoid"] or ()} == set(task.avoid)


def _agree_on_attempts(model: Model) -> None:
    kept: dict[UUID, dict[int, tuple[UUID, str]]] = defaultdict(dict)
    for task_id, number, worker_id, outcome in Attempt.objects.values_list(
        "task_id", "number", "worker_id", "outcome"
    ):
        kept[task_id][number] = worker_id, outcome
    for task in model.tasks.values():
        assert kept[task.id] == task.ended, f"attempts of {task}"


def _agree_on_workers(model: Model, rows: list[dict[str, Any]], held: Counter[UUID | None]) -> None:
    by_model = Counter(task.holder for task in model.tasks.values())
    noted = _noted()
    for row in rows:
        worker = model.workers[row["id"]]
        used_at, stale = noted[worker.id]
        row["idle_since"] = max([row["idle_since"], *used_at])
        row["stale_results"] += stale
        assert row["outstanding"] == held[worker.id] == by_model[worker.id]
        said = row["state"], row["max_outstanding"], row["stale_results"], row["idle_since"], row["node_id"]
        expected = worker.state, worker.max_outstanding, worker.stale, worker.idle_since, worker.node
        assert said == expected, f"{worker}: the row says {said} instead of {expected}"
    assert len(rows) == len(model.workers)


def _noted() -> dict[UUID, tuple[list[datetime], int]]:
    """What is not written into the rows of the workers yet: when they were used, and their stale results."""
    noted: dict[UUID, tuple[list[datetime], int]] = defaultdict(lambda: ([], 0))
    for kind, at, sessions in Activity.objects.values_list("kind", "at", "sessions"):
        for start in range(0, len(sessions), 16):
            worker_id = UUID(bytes=bytes(sessions[start : start + 16]))
            used_at, stale = noted[worker_id]
            if kind == "stale":
                noted[worker_id] = used_at, stale + 1
            else:
                used_at.append(at)
                noted[worker_id] = used_at, stale
    return noted


def _differences(said: dict[str, Any], expected: dict[str, Any]) -> str:
    return "; ".join(
        f"{column} {said[column]!r} instead of {expected[column]!r}"
        for column in said
        if said[column] != expected[column]
    )
