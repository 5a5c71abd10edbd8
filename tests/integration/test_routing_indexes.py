"""What the pages about workers and routes ask is answered from indexes and bounded, on SQLite as on PostgreSQL."""

from __future__ import annotations

import pytest
from django.db import connection
from plans import analyse, plans_of
from rows import assigned, pending, session

from queueapp import backlog, coverage, impact, roster
from queueapp.admin.workers import outcomes_of
from queueapp.models import Subscription

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.only_on("sqlite", reason="plans are read as SQLite writes them"),
]


@pytest.fixture(autouse=True)
def workers():
    workers = [session() for _ in range(50)]
    for number, worker in enumerate(workers):
        Subscription.objects.create(session=worker, name="tag", filter={"account": [str(number)]})
    assigned(workers[0], 3)
    pending(50)
    pending(50, attrs={"cloud": "aws"})
    analyse()
    return [worker.pk for worker in workers]


def test_what_waits_is_found_and_counted_in_the_index_of_ready_tasks():
    plan, _ = plans_of(backlog.read, "queueapp_task")
    assert plan.count("INDEX task_ready (route_id>?)") == 2, plan
    assert "SEARCH task USING INDEX task_ready (route_id=?)" in plan, plan
    assert "SCAN task" not in plan, plan


def test_the_largest_routes_are_counted_further_there():
    _, further = plans_of(backlog.read, "queueapp_task")
    assert "SEARCH task USING INDEX task_ready (route_id=?)" in further, further
    assert "SCAN task" not in further, further


def test_the_newest_routes_come_from_their_index():
    (plan,) = plans_of(lambda: backlog.newest_routes(10), "queueapp_route")
    assert "INDEX route_created" in plan, plan
    assert "TEMP B-TREE" not in plan, plan


def test_what_workers_hold_is_found_by_task_holder(workers):
    for plan in plans_of(lambda: impact.of(workers[:2]), "worker_id"):
        assert "INDEX task_holder" in plan, plan


def test_what_a_workers_attempts_came_to_is_found_by_the_worker(workers):
    (plan,) = plans_of(lambda: outcomes_of(workers[0]), "queueapp_attempt")
    assert "SEARCH queueapp_attempt USING INDEX queueapp_attempt_worker" in plan, plan


@pytest.mark.parametrize("question", [coverage.read, lambda: impact.of([])], ids=["coverage", "impact"])
def test_no_task_is_read_that_is_not_in_an_index(question):
    for plan in plans_of(question, "queueapp_task"):
        steps = [step for step in plan.splitlines() if "queueapp_task" in step or " task " in f"{step} "]
        assert steps
        assert all("INDEX" in step for step in steps), plan


def test_all_who_are_attached_take_three_questions():
    asked = []
    with connection.execute_wrapper(lambda execute, sql, *rest: asked.append(sql) or execute(sql, *rest)):
        roster.attached()
    assert len(asked) == 3
