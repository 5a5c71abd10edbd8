"""What a pass asks PostgreSQL: it waits for each answer, and who waits for one task waits for all of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from fleet import Fleet, submit

from queueapp.lifecycle import Report
from queueapp.models import Queue

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.only_on("postgresql", reason="on SQLite nothing is waited for but the writer's turn"),
]


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    fleet = Fleet()
    yield fleet
    fleet.unlisten()


def answers(fleet: Fleet, **inbox: Any) -> int:
    """How many answers the pass waited for, its commits left out."""
    asked: list[str] = []

    def note(execute: Any, sql: str, *rest: Any) -> Any:
        asked.append(sql)
        return execute(sql, *rest)

    with connection.execute_wrapper(note):
        fleet.run(**inbox)
    return len(asked)


def test_one_that_assigns_a_task_waits_for_four(fleet):
    """Who is there, what they hold and whether queues are limited is one of them. Where some are, one more tells
    which, and another what runs of them."""
    fleet.attach("task=t")
    submit()
    fleet.run()
    submit()
    assert answers(fleet) == 4
    Queue.objects.create(name="other", paused=True)
    submit()
    assert answers(fleet) == 5
    Queue.objects.filter(name="other").update(concurrency=1, paused=False)
    submit()
    assert answers(fleet) == 6


def test_one_that_takes_a_result_waits_for_two(fleet):
    (worker,) = fleet.attach("task=t")
    (task,) = submit()
    fleet.run()
    assert answers(fleet, reports=[Report(worker, task, done=True)]) == 2
