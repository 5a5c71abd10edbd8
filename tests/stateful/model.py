"""What the contract says of tasks, workers and server processes, over plain objects in memory, one at a time."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

LEASE = timedelta(seconds=6)
LIVE = ("pending", "assigned")
COUNTED = ("done", "error", "lost", "timeout")


@dataclass(eq=False)
class ModelTask:
    number: int
    id: UUID
    route: UUID
    name: str
    attrs: dict[str, str]
    priority: int
    timeout: float
    max_attempts: int
    retry_on: list[str]
    backoff: dict[str, float]
    spill_after: float | None
    expires_at: datetime | None
    unique_key: str | None
    concurrency_key: str | None
    available_at: datetime
    delayed_until: datetime | None
    waiting_since: datetime
    state: str = "pending"
    reason: str = ""
    holder: UUID | None = None
    attempt: int = 0
    used: int = 0
    avoid: list[UUID] = field(default_factory=list)
    deadline: datetime | None = None
    finished_at: datetime | None = None
    result: str | None = None
    progress: float | None = None
    last_holder: UUID | None = None
    ended: dict[int, tuple[UUID, str]] = field(default_factory=dict)
    """Attempts whose end is kept: number → worker, outcome."""
    backoff_ends: tuple[datetime, datetime] | None = None
    """Between which times a backoff ends: the jitter is the product's to choose."""

    def __repr__(self) -> str:
        return f"<t{self.number} {self.state} {self.name} {self.attrs}>"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Hypothesis would print every field."""
        printer.text(repr(self))

    @property
    def live(self) -> bool:
        return self.state in LIVE

    @property
    def ready(self) -> bool:
        return self.state == "pending" and self.delayed_until is None and self.backoff_ends is None

    @property
    def order(self) -> tuple[int, datetime, int]:
        return -self.priority, self.available_at, self.number

    def end_attempt(self, outcome: str, now: datetime, retry: bool | None = None) -> None:
        """An attempt ends otherwise than done: the task is pending again, or over."""
        assert self.holder is not None
        self.ended[self.attempt] = self.holder, outcome
        self.used += outcome in COUNTED
        if outcome in ("lost", "timeout"):
            self.avoid.append(self.holder)
        self._let_go()
        again = outcome in self.retry_on if retry is None else retry
        if outcome == "released" or (again and self.used < self.max_attempts):
            self.state, self.waiting_since = "pending", now
            if outcome == "error":
                self._back_off(now)
        else:
            self.state, self.reason, self.finished_at = "failed", outcome, now

    def succeed(self, payload: str, now: datetime) -> None:
        assert self.holder is not None
        if self.attempt > 1:
            self.ended[self.attempt] = self.holder, "done"
        self.used += 1
        self._let_go()
        self.state, self.result, self.finished_at = "succeeded", payload, now

    def end(self, state: str, now: datetime) -> None:
        """Cancelled or expired."""
        if self.holder is not None:
            self.ended[self.attempt] = self.holder, state
        self._let_go()
        self.state, self.finished_at, self.delayed_until, self.backoff_ends = state, now, None, None

    def start_again(self, now: datetime) -> None:
        """By an explicit retry: a fresh budget."""
        if self.state == "succeeded" and self.attempt == 1:
            assert self.last_holder is not None
            self.ended[1] = self.last_holder, "done"
        self.state, self.reason, self.result, self.finished_at = "pending", "", None, None
        self.used, self.avoid, self.progress = 0, [], None
        self.available_at = self.waiting_since = now
        if self.expires_at is not None and self.expires_at <= now:
            self.expires_at = None

    def give_to(self, worker_id: UUID, now: datetime) -> None:
        self.state, self.holder, self.last_holder = "assigned", worker_id, worker_id
        self.attempt += 1
        self.deadline, self.progress = now + timedelta(seconds=self.timeout), None

    def _let_go(self) -> None:
        self.holder, self.deadline = None, None

    def _back_off(self, now: datetime) -> None:
        nominal = min(self.backoff["max"], self.backoff["initial"] * self.backoff["factor"] ** (self.used - 1))
        if nominal:
            soonest, latest = now + timedelta(seconds=nominal / 2), now + timedelta(seconds=nominal)
            self.backoff_ends = soonest, latest


@dataclass(eq=False)
class ModelWorker:
    number: int
    id: UUID
    node: UUID
    subscriptions: list[dict[str, Any]]
    max_outstanding: int
    idle_since: datetime
    state: str = "online"
    stale: int = 0
    turn: int = 0
    """When it was given its last task within the pass that is looked at; 0: not in that pass."""

    def __repr__(self) -> str:
        return f"<w{self.number} {self.state} {self.subscriptions}>"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Hypothesis would print every field."""
        printer.text(repr(self))

    @property
    def attached(self) -> bool:
        return self.state != "gone"


@dataclass(eq=False)
class ModelNode:
    id: UUID
    lease_until: datetime
    reaps_from: datetime
    """Until then it takes nobody for dead: the others may be as late as it was itself."""
    running: bool = True
    has_orphans: bool = False
    """Whether its next pass goes on with the ends of sessions whose process has ended."""


class Model:
    def __init__(self) -> None:
        self.tasks: dict[UUID, ModelTask] = {}
        self.workers: dict[UUID, ModelWorker] = {}
        self.nodes: dict[UUID, ModelNode] = {}
        self.paused: set[str] = set()
        self.limits: dict[str, dict[str, int]] = {}
        """As `tests/unit/reference.py` has them."""

    def held_by(self, worker_id: UUID) -> list[ModelTask]:
        return [task for task in self.tasks.values() if task.holder == worker_id]

    def live_with_key(self, name: str, key: str) -> ModelTask | None:
        wanted = (task for task in self.tasks.values() if task.live)
        return next((task for task in wanted if (task.name, task.unique_key) == (name, key)), None)

    # ---- workers' words

    def finish(
        self,
        worker_id: UUID,
        task_id: UUID,
        number: int | None,
        done: bool,
        payload: str,
        retry: Any,
        now: datetime,
    ) -> str:
        """The verdict."""
        task = self.tasks.get(task_id)
        if task is None:
            return "unknown"
        if done and task.state == "succeeded" and (task.last_holder, task.attempt) == (worker_id, number):
            return "accepted"  # the result that stands, said again
        if task.holder != worker_id or number not in (None, task.attempt):
            self.workers[worker_id].stale += 1
            return "stale"
        if done:
            task.succeed(payload, now)
        else:
            task.end_attempt("error", now, retry)
        self.workers[worker_id].idle_since = now
        return "accepted"

    def show_life(
        self, worker_id: UUID, task_id: UUID, seconds: float | None, progress: float | None, now: datetime
    ) -> None:
        task = self.tasks.get(task_id)
        if task is not None and task.holder == worker_id:
            task.deadline = now + timedelta(seconds=seconds or task.timeout)
            task.progress = task.progress if progress is None else progress

    def release(self, worker_id: UUID, task_id: UUID, now: datetime) -> None:
        task = self.tasks.get(task_id)
        if task is not None and task.holder == worker_id:
            task.end_attempt("released", now)

    def close(self, worker_id: UUID, outcome: str, now: datetime) -> None:
        worker = self.workers.get(worker_id)  # None: it has come and gone while its process lost its lease
        if worker is not None and worker.attached:
            worker.state = "gone"
            for task in self.held_by(worker_id):
                task.end_attempt(outcome, now)

    def drain(self, worker_id: UUID) -> None:
        worker = self.workers.get(worker_id)
        if worker is not None and worker.state == "online":
            worker.state = "draining"

    # ---- the clock and the processes

    def renew_lease(self, node_id: UUID, now: datetime) -> None:
        node = self.nodes[node_id]
        if node.running:
            if node.lease_until < now:
                node.reaps_from = now + LEASE
            node.lease_until = now + LEASE

    def reap(self, node_id: UUID, now: datetime) -> list[ModelWorker]:
        """Whose process is taken for dead by this one. They stay as they are for now."""
        by = self.nodes[node_id]
        dead = [n for n in self.nodes.values() if now >= by.reaps_from and n.running and n.lease_until < now]
        for node in dead:
            node.running = False
        return [worker for worker in self.orphans() if worker.node in {node.id for node in dead}]

    def orphans(self) -> list[ModelWorker]:
        """Those whose process has ended and who have not yet, in the order in which they do."""
        workers = [worker for worker in self.workers.values() if worker.attached]
        return sorted((w for w in workers if not self.nodes[w.node].running), key=lambda worker: worker.id)

    def look_at_the_clock(self, now: datetime) -> None:
        for task in self.tasks.values():
            if task.deadline is not None and task.deadline <= now:
                task.end_attempt("timeout", now)
            if task.state == "pending" and task.expires_at is not None and task.expires_at <= now:
                task.end("expired", now)
            if task.delayed_until is not None and task.delayed_until <= now:
                task.delayed_until = None

    def stop(self, node_id: UUID, now: datetime) -> None:
        """In order: the server lets go of all its workers."""
        self.nodes[node_id].running = False
        for worker in self.orphans():
            if worker.node == node_id:
                self.close(worker.id, "released", now)
