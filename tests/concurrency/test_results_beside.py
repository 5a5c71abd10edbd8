"""Results that are taken in on one connection while tasks are assigned on another."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from unittest.mock import patch
from uuid import UUID

import pytest
from django.db import OperationalError, connection, transaction

from queueapp import lifecycle
from queueapp.lifecycle import Report
from queueapp.models import Task
from queueapp.passes import Outbox
from tests.concurrency.interleaving import BEFORE_COMMIT, Party, after
from tests.integration.fleet import Fleet, submit

pytestmark = pytest.mark.django_db(transaction=True)

ASSIGNED = after("UPDATE queueapp_task")
PASS_SIZE = 2


@pytest.fixture
def beside() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as executor:
        yield executor
        executor.submit(lambda: connection.close()).result()


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


def test_tasks_are_assigned_while_a_result_waits_for_its_row(fleet):
    """On one connection the pass would wait for it before it assigns anything."""
    [worker] = fleet.attach("task=t")
    tasks = submit(6)
    assert assigned(fleet.run()) == tasks[:2]
    with Party(lambda: lock(tasks[0]), BEFORE_COMMIT) as holder:
        holder.until_it_stops()
        with Party(lambda: fleet.run(reports=[Report(worker, tasks[0], done=True)]), ASSIGNED) as passing:
            passing.until_it_stops()
            holder.go_on()
            passing.go_on()
            outbox = passing.result()
    assert (assigned(outbox), verdicts(outbox)) == (tasks[2:4], ["accepted"])


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
    outbox = fleet.run(reports=[Report(worker, keyed, done=True)])
    assert (assigned(outbox), outbox.more) == ([others[1]], True)
    assert assigned(fleet.run()) == [waiting]


def test_with_the_database_away_for_results_the_same_inbox_works_later(fleet):
    [worker] = fleet.attach("task=t")
    tasks = submit(6)
    fleet.run()
    reports = [Report(worker, tasks[0], done=True)]
    with (
        patch.object(lifecycle, "finish", side_effect=OperationalError("the connection is gone")),
        pytest.raises(OperationalError),
    ):
        fleet.run(reports=reports)
    assert Task.objects.get(pk=tasks[0]).state == "assigned"
    outbox = fleet.run(reports=reports)
    assert (assigned(outbox), verdicts(outbox)) == (tasks[4:], ["accepted"])
