"""Everybody does everything to the same few rows at once, and nobody is told of a deadlock.

STORM_OPERATIONS says for how long (`make storm`: a million), STORM_SEED repeats the choices of an earlier run,
though not how they met.
"""

from __future__ import annotations

import os
import time
from collections import Counter, defaultdict
from uuid import UUID

import pytest

from queueapp import database, queues, sessions
from queueapp.inbox import Inbox
from queueapp.lifecycle import Report
from queueapp.models import Attempt, Node, Task, WorkerSession, new_id
from queueapp.passes import Pass
from queueapp.registration import parse_query
from queueapp.sessions import Attachment
from tests.concurrency.storm import NAMES, UNIQUE_VIOLATION, Storm

pytestmark = pytest.mark.django_db(transaction=True)

OPERATIONS = int(os.environ.get("STORM_OPERATIONS", "3000"))
PARTIES = 6
LOCK_NOT_AVAILABLE = "55P03"
"""What was noted of workers does not wait for their rows, and is written later: no order of locks."""
ANSWERS = {UNIQUE_VIOLATION, LOCK_NOT_AVAILABLE}
AUDITED = ("id", "state", "attempt", "attempts_used", "max_attempts", "worker_id", "last_worker_id")
SEED = int(os.environ.get("STORM_SEED", "1"))


def test_no_deadlock_and_no_serialisation_failure_reaches_anybody(caplog):
    storm = Storm(OPERATIONS)
    started = time.monotonic()
    storm.rage(PARTIES, SEED)
    seconds = time.monotonic() - started
    print(f"\n{storm.done.total()} operations in {seconds:.0f} s: {dict(storm.done)}")
    print(f"choices out of date when their workers were locked: {storm.chosen_anew}")
    print(f"errors that PostgreSQL reported, by SQLSTATE: {dict(storm.reported)}")
    print(f"passes run again: {dict(storm.absorbed)}; escaped: {Counter(map(repr, storm.escaped))}")
    audit(storm)
    assert not storm.escaped, storm.escaped[:3]
    assert storm.reported.keys() <= ANSWERS, f"an order of locks is wrong: {storm.details[:3]}"
    complaints = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert not complaints, complaints[:3]
    finish_all()


def audit(storm: Storm) -> None:
    tasks = {row["id"]: row for row in Task.objects.values(*AUDITED)}
    assert storm.created == tasks.keys()
    kept: dict[UUID, dict[int, tuple[UUID, str]]] = defaultdict(dict)
    for task_id, number, worker_id, outcome in Attempt.objects.values_list(
        "task_id", "number", "worker_id", "outcome"
    ):
        kept[task_id][number] = worker_id, outcome
    for row in tasks.values():
        expected = set(range(1, row["attempt"] + (row["state"] != "assigned")))
        if (row["state"], row["attempt"]) == ("succeeded", 1):
            expected.clear()
        assert kept[row["id"]].keys() == expected, f"an attempt was lost or made up: {row}"
        assert row["attempts_used"] <= min(row["attempt"], row["max_attempts"]), row
    _results_are_kept(storm, tasks, kept)
    holders = Counter(row["worker_id"] for row in tasks.values() if row["worker_id"])
    serving = WorkerSession.objects.attached().filter(node__in=Node.objects.running())
    assert holders.keys() <= set(serving.values_list("id", flat=True)), (
        "a task is held by a session that has ended"
    )
    assert all(number <= storm.capacities[session_id] for session_id, number in holders.items())


def _results_are_kept(storm: Storm, tasks: dict, kept: dict) -> None:
    """What was acknowledged to a worker is in the rows, and to one worker an attempt."""
    for (task_id, number), accepted in storm.accepted.items():
        assert len(accepted) == 1, f"attempt {number} of {task_id} has ended more than once: {accepted}"
        ((session_id, done),) = accepted
        row = tasks[task_id]
        plain = (row["state"], row["attempt"], row["last_worker_id"]) == ("succeeded", number, session_id)
        assert (done and plain) or kept[task_id].get(number) == (session_id, "done" if done else "error")


def finish_all() -> None:
    """One honest worker finishes all that is left: nothing is stuck."""
    queues.resume(NAMES)
    process = Pass(sessions.start_node(database.now()))
    parsed = parse_query(f"task={','.join(NAMES)}".encode(), 100_000)
    worker = new_id()
    sessions.disconnect(WorkerSession.objects.attached().values_list("id", flat=True), database.now())
    outbox = process.run(Inbox(attachments=[Attachment(worker, parsed.options, parsed.offers)], tick=True))
    while Task.objects.live().exists():
        reports = [Report(worker, a.task.task_id, done=True) for a in outbox.assignments]
        outbox = process.run(Inbox(reports=reports, tick=True))
