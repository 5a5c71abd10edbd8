"""Results that are taken in on one connection while tasks are assigned on another."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any
from unittest.mock import patch
from uuid import UUID

import pytest
from django.db import OperationalError, connection, transaction

from queueapp import inbox, lifecycle
from queueapp.domain.states import Outcome
from queueapp.lifecycle import Report
from queueapp.models import Task
from queueapp.passes import Outbox
from queueapp.sessions import Closing
from tests.concurrency.interleaving import BEFORE_COMMIT, Party, after
from tests.integration.fleet import Fleet, submit

pytestmark = pytest.mark.django_db(transaction=True)

ASSIGNED = after("UPDATE queueapp_task")
PASS_SIZE = 2


@pytest.fixture
def beside() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as executor:
        yield executor


@pytest.fixture
def fleet(beside: ThreadPoolExecutor, settings) -> Iterator[Fleet]:
    """Each of its passes assigns two tasks."""
    settings.WORKQUEUE = replace(settings.WORKQUEUE, pass_size=PASS_SIZE)
    fleet = Fleet(beside)
    yield fleet
    fleet.unlisten()


def assigned(outbox: Outbox) -> list:
    return [assignment.task.task_id for assignment in outbox.assignments]


def verdicts(outbox: Outbox) -> list[str]:
    return [verdict for _, verdict in outbox.verdicts]


def lock(task_id: UUID) -> None:
    with transaction.atomic():
        Task.objects.select_for_update().get(pk=task_id)


def run_with_the_result_last(fleet: Fleet, worker: UUID, task_id: UUID) -> Outbox:
    """A pass whose result waits for its row until the tasks are assigned."""
    with Party(lambda: lock(task_id), BEFORE_COMMIT) as holder:
        holder.until_it_stops()
        with Party(lambda: fleet.run(reports=[Report(worker, task_id, done=True)]), ASSIGNED) as passing:
            passing.until_it_stops()
            holder.go_on()
            passing.go_on()
            return passing.result()


def test_tasks_are_assigned_while_a_result_waits_for_its_row(fleet):
    """On one connection the pass would wait for it before it assigns anything."""
    [worker] = fleet.attach("task=t")
    tasks = submit(6)
    assert assigned(fleet.run()) == tasks[:2]
    outbox = run_with_the_result_last(fleet, worker, tasks[0])
    assert (assigned(outbox), verdicts(outbox)) == (tasks[2:4], ["accepted"])


def test_room_that_a_result_makes_after_the_tasks_were_assigned_is_used_by_another_pass(fleet):
    """Guard: a result that was taken in beside is more to do. Else the place were empty until the next event."""
    [worker] = fleet.attach("task=t&_max_outstanding=3")
    tasks = submit(6)
    assert assigned(fleet.run()) == tasks[:2]
    outbox = run_with_the_result_last(fleet, worker, tasks[0])
    assert (assigned(outbox), outbox.more) == ([tasks[2]], True)
    outbox = fleet.run()
    assert (assigned(outbox), outbox.more) == ([tasks[3]], False)


def test_room_that_results_make_is_used_in_the_same_pass_where_there_is_no_other(fleet):
    """Guard: that the pass before had more to assign."""
    [worker] = fleet.attach("task=t&_max_outstanding=1")
    first, second = submit(2)
    assert assigned(fleet.run()) == [first]
    outbox = fleet.run(reports=[Report(worker, first, done=True)])
    assert (assigned(outbox), verdicts(outbox)) == ([second], ["accepted"])


def test_what_a_result_lets_through_is_looked_for_in_another_pass(fleet):
    """Guard: that its news, which this pass has not heard, is more to do."""
    [worker] = fleet.attach("task=t")
    [keyed, waiting] = submit(2, concurrency_key="k", priority=1)
    others = submit(2)
    assert assigned(fleet.run()) == [keyed, others[0]]
    outbox = run_with_the_result_last(fleet, worker, keyed)
    assert (assigned(outbox), outbox.more) == ([others[1]], True)
    assert assigned(fleet.run()) == [waiting]


def test_with_the_database_away_for_results_they_are_left_and_what_is_assigned_is_told(fleet):
    """Guard: the pass does not fail as a whole. Its tasks are their workers' by then, and their time runs."""
    [worker] = fleet.attach("task=t")
    tasks = submit(6)
    fleet.run()
    reports = [Report(worker, tasks[0], done=True)]
    with patch.object(lifecycle, "finish", side_effect=OperationalError("the connection is gone")):
        outbox = fleet.run(reports=reports)
    assert (assigned(outbox), verdicts(outbox)) == (tasks[2:4], [])
    assert (outbox.left.reports, outbox.away) == (reports, True)
    assert Task.objects.get(pk=tasks[0]).state == "assigned"
    outbox = fleet.run(reports=reports)
    assert (assigned(outbox), verdicts(outbox), bool(outbox.left)) == (tasks[4:], ["accepted"], False)


def test_the_connection_for_results_is_not_kept(fleet, beside):
    """Guard: `_take_in_elsewhere` gives it back. It would be missing for requests, and be dead unnoticed when the
    next backlog comes."""
    [worker] = fleet.attach("task=t")
    tasks = submit(6)
    fleet.run()
    assert verdicts(fleet.run(reports=[Report(worker, tasks[0], done=True)])) == ["accepted"]
    assert beside.submit(lambda: connection.connection).result() is None


class Dawdler(ThreadPoolExecutor):
    """Begins only when somebody waits for it, as a thread that is late may."""

    def submit(self, act: Callable[..., Any], /, *arguments: Any, **named: Any) -> Future[Any]:
        return Promise(partial(super().submit, act, *arguments, **named))


class Promise(Future[Any]):
    def __init__(self, begin: Callable[[], Future[Any]]) -> None:
        super().__init__()
        self._begin = begin

    def result(self, timeout: float | None = None) -> Any:
        return self._begin().result(timeout)


@pytest.mark.parametrize("leaving", ["closings", "drains"])
def test_who_is_about_to_leave_is_given_nothing_though_only_results_are_taken_in_now(fleet, monkeypatch, leaving):
    """Guard: that nothing is left over. Beside the others it would be held back too late, and what it was given be
    lost with it."""
    [worker] = fleet.attach("task=t")
    tasks = submit(6)
    assert fleet.run().more
    monkeypatch.setattr(inbox, "WORK_A_PASS", 1)
    said = fleet.heard(reports=[Report(worker, task_id, done=True) for task_id in tasks[:2]])
    setattr(said, leaving, [Closing(worker, Outcome.LOST, 1006)] if leaving == "closings" else [worker])
    with Dawdler(1) as dawdler:
        fleet.process._beside = dawdler
        outbox = fleet.process.run(said)
    assert (assigned(outbox), verdicts(outbox)) == ([], ["accepted"])
