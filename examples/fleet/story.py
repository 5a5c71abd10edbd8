"""The course of the demonstration: workers attach, tasks flow, one worker is killed, everything is checked."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from examples.client import ApiError, Client
from examples.fleet import checks
from examples.fleet.checks import Check, Outcome
from examples.fleet.processes import ROOT, Fleet, ProcessFailed, WorkerPlan, exit_on_signals
from examples.fleet.view import Observer, Snapshot, View

INVENTORY = ROOT / "examples" / "inventory.jsonl"
TAGGED = ROOT / "build" / "tagged.jsonl"

TAGGER, SPECIALIST, TWIN, FILES = (
    WorkerPlan("worker1", "examples.tagging", "tag cloud=aws,gcp"),
    WorkerPlan("worker2", "examples.tagging:aws_123", "tag cloud=aws account=123"),
    WorkerPlan("worker3", "examples.tagging", "tag cloud=aws,gcp"),
    WorkerPlan("files", "examples.checksums", "checksum", concurrency=2),
)
PLANS = [TAGGER, SPECIALIST, TWIN, FILES]
VICTIM = TAGGER.name
"""Its twin remains: tasks of every route can still be done."""

LOOK_EVERY_SECONDS = 0.1
LOOK_CLOSELY_EVERY_SECONDS = 1.0
TIME_LIMIT_SECONDS = 120.0


class TooSlow(Exception):
    """The tasks were not done in time."""


def main() -> int:
    """The exit status: 0 only if every check holds."""
    exit_on_signals()
    console = Console()
    try:
        with tempfile.TemporaryDirectory(prefix="workqueue-demo-") as directory:
            results = _run(Path(directory), console)
    except (ProcessFailed, TooSlow, ApiError, OSError) as problem:
        print(f"The demonstration failed: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130
    for check in results:
        mark = "[green]✓[/]" if check.holds else "[red]✗[/]"
        console.print(f"{mark} {check.claim} ({check.figures})", highlight=False, soft_wrap=True)
    return 0 if all(check.holds for check in results) else 1


def _run(directory: Path, console: Console) -> list[Check]:
    inventory = [json.loads(line) for line in INVENTORY.read_text(encoding="utf-8").splitlines()]
    paths = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "queueapp").rglob("*.py"))
    with Fleet(directory) as fleet:
        with View(PLANS) as view:
            view.say("Migrating a new database and creating keys")
            fleet.migrate()
            keys = {role: fleet.create_key(role) for role in ("producer", "worker", "operator")}
            fleet.start_server()
            view.say(f"The server runs on {fleet.url}")
            operator = Client(fleet.url, keys["operator"])
            observer = Observer(operator)
            for plan in PLANS:
                fleet.start_worker(plan, keys["worker"])
            _until_attached(fleet, observer, view)
            ids = Client(fleet.url, keys["producer"]).submit(_submissions(inventory, paths))
            view.say(f"Submitted {len(ids)} tasks in one request; {VICTIM} is killed when half of them are done")
            _until_done(fleet, observer, view, len(ids))
        outcome = _outcome(operator, observer)
    checks.write_inventory(outcome, inventory, TAGGED)
    _print_summary(console, outcome)
    console.print(f"The tagged inventory is in {TAGGED.relative_to(ROOT)}", highlight=False)
    return [
        checks.every_task_succeeded(outcome, ids),
        checks.lost_tasks_were_done_by_others(outcome),
        checks.the_most_specific_worker_was_chosen(outcome, SPECIALIST.name),
        checks.tags_equal_those_of_one_process(outcome, inventory),
        checks.checksums_equal_hashlib(outcome, ROOT, paths),
    ]


def _submissions(inventory: list[dict[str, Any]], paths: list[str]) -> list[dict[str, Any]]:
    tags = [
        {
            "name": "tag",
            "attrs": {"cloud": resource["cloud"], "account": resource["account"]},
            "data": resource,
        }
        for resource in inventory
    ]
    return tags + [{"name": "checksum", "data": {"path": path}} for path in paths]


def _until_attached(fleet: Fleet, observer: Observer, view: View) -> None:
    """Tasks that came before the specialist would rightly go to the others."""
    deadline = time.monotonic() + TIME_LIMIT_SECONDS
    while True:
        snapshot = observer.look()
        view.show(snapshot)
        if all(plan.name in snapshot.workers for plan in PLANS):
            view.say(f"{len(PLANS)} workers are attached")
            return
        _pause(fleet, deadline)


def _until_done(fleet: Fleet, observer: Observer, view: View, total: int) -> None:
    """Watch, and kill the victim half-way."""
    deadline = time.monotonic() + TIME_LIMIT_SECONDS
    killed = False
    next_close_look = 0.0
    latest = Snapshot({}, {})
    while True:
        snapshot = observer.look()
        if time.monotonic() >= next_close_look:
            snapshot = latest = observer.look_closely()
            next_close_look = time.monotonic() + LOOK_CLOSELY_EVERY_SECONDS
        snapshot.done, snapshot.rescheduled = latest.done, latest.rescheduled
        view.show(snapshot)
        if not killed and snapshot.succeeded() >= total / 2:
            fleet.kill(VICTIM)
            killed = True
            view.say(f"{VICTIM} was killed (SIGKILL) while it held {snapshot.holding(VICTIM)} tasks")
            next_close_look = 0.0
        if killed and not snapshot.unfinished():
            view.show(observer.look_closely(), at_once=True)
            return
        _pause(fleet, deadline)


def _pause(fleet: Fleet, deadline: float) -> None:
    fleet.check()
    if time.monotonic() > deadline:
        raise TooSlow(f"not done after {TIME_LIMIT_SECONDS:.0f} s.")
    time.sleep(LOOK_EVERY_SECONDS)


def _outcome(operator: Client, observer: Observer) -> Outcome:
    tasks = list(operator.list("tasks"))
    return Outcome(
        tasks=tasks,
        workers={each["id"]: name for name, each in observer.workers().items()},
        attempts={task["id"]: operator.attempts(task["id"]) for task in tasks if task["attempt"] > 1},
        killed=VICTIM,
    )


def _print_summary(console: Console, outcome: Outcome) -> None:
    done = Counter(outcome.worker_of(task) for task in outcome.tasks if task["state"] == "succeeded")
    again = Counter(outcome.worker_of(task) for task in outcome.tasks if task["id"] in outcome.attempts)
    table = Table(title="Who did what", title_justify="left")
    for column in ("worker", "offers"):
        table.add_column(column, no_wrap=True)
    for column in ("done", "rescheduled"):
        table.add_column(column, justify="right")
    for plan in PLANS:
        name = f"{plan.name} (killed)" if plan.name == outcome.killed else plan.name
        table.add_row(name, plan.filter, str(done[plan.name]), str(again[plan.name]))
    table.add_section()
    table.add_row("all", "", str(sum(done.values())), str(len(outcome.attempts)))
    console.print(table)
