"""What is seen while the demonstration runs: the queues and the workers, read through the REST API."""

from __future__ import annotations

import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table

from examples.client import Client
from examples.fleet.processes import WorkerPlan

LINE_EVERY_SECONDS = 1.0
SHOWN_STATES = ("pending", "assigned", "succeeded")
MARKS = {"online": "[green]online[/]", "draining": "[yellow]draining[/]", "gone": "[red]gone[/]"}


@dataclass(slots=True)
class Snapshot:
    """One look at the server. `queues`: name to counts by state; `workers` by name; `done`: tasks that each
    worker has finished; `rescheduled`: ids seen so far of tasks in a second or later attempt."""

    queues: dict[str, Counter[str]]
    workers: dict[str, dict[str, Any]]
    done: Counter[str] = field(default_factory=Counter)
    rescheduled: set[str] = field(default_factory=set)

    def succeeded(self) -> int:
        return sum(counts["succeeded"] for counts in self.queues.values())

    def unfinished(self) -> int:
        return sum(counts["pending"] + counts["assigned"] for counts in self.queues.values())

    def holding(self, worker: str) -> int:
        outstanding: int = self.workers[worker]["outstanding"] if worker in self.workers else 0
        return outstanding


class Observer:
    """Reads the server's state with an operator's key."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._rescheduled: set[str] = set()
        self._finished: dict[str, str] = {}

    def look(self) -> Snapshot:
        queues = {each["name"]: Counter(each["counts"]) for each in self._client.list("queues")}
        return Snapshot(queues, self.workers())

    def workers(self) -> dict[str, dict[str, Any]]:
        """By name; one that is gone too."""
        gone = self._client.list("workers", state="gone")
        return {each["name"]: each for sessions in (gone, self._client.list("workers")) for each in sessions}

    def look_closely(self) -> Snapshot:
        """With who has done what, for which the tasks themselves are read."""
        snapshot = self.look()
        names = {each["id"]: name for name, each in snapshot.workers.items()}
        for state in ("assigned", "succeeded"):
            for task in self._client.list("tasks", state=state):
                if task["attempt"] > 1:
                    self._rescheduled.add(task["id"])
                if state == "succeeded":
                    self._finished[task["id"]] = names.get(task["worker"], "?")
        snapshot.done = Counter(self._finished.values())
        snapshot.rescheduled = self._rescheduled
        return snapshot


class View:
    """A live table where standard output is a terminal, a line a second otherwise."""

    def __init__(self, plans: list[WorkerPlan]) -> None:
        self._plans = plans
        self._console = Console()
        self._live = Live(console=self._console, refresh_per_second=8) if sys.stdout.isatty() else None
        self._next_line = 0.0
        self._began = time.monotonic()

    def __enter__(self) -> View:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def say(self, text: str) -> None:
        """A line that stays."""
        self._console.print(f"{self._seconds():5.1f} s  {text}", highlight=False, soft_wrap=True)

    def show(self, snapshot: Snapshot, *, at_once: bool = False) -> None:
        if self._live is not None:
            self._live.update(Group(self._queues(snapshot), self._workers(snapshot)))
        elif at_once or time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + LINE_EVERY_SECONDS
            self.say(self._line(snapshot))

    def _seconds(self) -> float:
        return time.monotonic() - self._began

    def _line(self, snapshot: Snapshot) -> str:
        totals: Counter[str] = sum(snapshot.queues.values(), Counter())
        states = " ".join(f"{totals[state]} {state}" for state in SHOWN_STATES)
        workers = " | ".join(
            f"{plan.name} {_state(snapshot, plan.name)}:"
            f" {snapshot.holding(plan.name)} held {snapshot.done[plan.name]} done"
            for plan in self._plans
        )
        return f"{states}, {len(snapshot.rescheduled)} rescheduled | {workers}"

    def _queues(self, snapshot: Snapshot) -> Table:
        table = Table(title=f"Queues after {self._seconds():.1f} s", title_justify="left")
        table.add_column("queue")
        for state in SHOWN_STATES:
            table.add_column(state, justify="right")
        for name, counts in sorted(snapshot.queues.items()):
            table.add_row(name, *(str(counts[state]) for state in SHOWN_STATES))
        table.caption = f"rescheduled so far: {len(snapshot.rescheduled)}"
        return table

    def _workers(self, snapshot: Snapshot) -> Table:
        table = Table(title="Workers", title_justify="left")
        for column in ("worker", "offers", "state"):
            table.add_column(column)
        for column in ("holding", "done"):
            table.add_column(column, justify="right")
        for plan in self._plans:
            state = _state(snapshot, plan.name)
            counts = (str(snapshot.holding(plan.name)), str(snapshot.done[plan.name]))
            table.add_row(plan.name, plan.filter, MARKS.get(state, state), *counts)
        return table


def _state(snapshot: Snapshot, name: str) -> str:
    return str(snapshot.workers[name]["state"]) if name in snapshot.workers else "starting"
