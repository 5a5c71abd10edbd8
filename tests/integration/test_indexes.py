"""The questions that are asked all the time are answered from their partial indexes, on SQLite too."""

from __future__ import annotations

from uuid import UUID

import pytest
from plans import analyse, plans_of
from rows import NOW, assign, assigned, pending, session

from queueapp import lifecycle, limits, maintenance
from queueapp.domain.states import Outcome
from queueapp.models import Route, Task
from queueapp.ready import Spill, ready_tasks, routes_with_ready_tasks, spilled_tasks

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.only_on("sqlite", reason="plans are read as SQLite writes them"),
]


@pytest.fixture(autouse=True)
def rows():
    """Rows of each kind, and the planner told of them."""
    worker = session()
    assigned(worker, 3)
    pending(50)
    pending(3, delay=60)
    pending(3, expires_in=60)
    analyse()
    return worker


def plans(question) -> list[str]:
    """Of every statement over tasks that the question asks."""
    return plans_of(question, "queueapp_task")


def assert_uses(index: str, question) -> None:
    first = plans(question)[0]
    assert f"INDEX {index} " in first, first
    assert "SCAN queueapp_task\n" not in first + "\n", first


def test_the_ready_tasks_of_a_route_come_from_task_ready_in_their_order(rows):
    room = dict.fromkeys(Route.objects.values_list("id", flat=True), 10)
    (plan,) = plans(lambda: ready_tasks(room, 100))
    assert "SEARCH task USING INDEX task_ready (route_id=?" in plan or (
        "SEARCH task USING COVERING INDEX task_ready (route_id=?" in plan
    ), plan


def test_the_tasks_of_a_route_that_may_spill_come_from_their_own_index(rows):
    spills = dict.fromkeys(Route.objects.values_list("id", flat=True), Spill(room=10, levels=1))
    (plan,) = plans(lambda: spilled_tasks(spills, 100, NOW))
    assert "INDEX task_ready_spilling (route_id=?" in plan, plan


def test_the_routes_with_ready_tasks_are_found_step_by_step_in_task_ready(rows):
    (plan,) = plans(lambda: routes_with_ready_tasks(UUID(int=0), 100))
    assert plan.count("INDEX task_ready (route_id>?)") == 2, plan


def test_what_a_worker_holds_comes_from_task_holder(rows):
    assert_uses("task_holder", lambda: list(Task.objects.held_by([rows.id])))


def test_what_a_dead_worker_held_comes_from_task_holder(rows):
    assert_uses("task_holder", lambda: lifecycle.rescue({rows.id: Outcome.LOST}, NOW))


def test_what_all_workers_hold_is_counted_from_task_holder(rows):
    assert_uses("task_holder", Task.objects.outstanding_by_session)


def test_overdue_tasks_come_from_task_deadline(rows):
    assert_uses("task_deadline", lambda: lifecycle.time_out(NOW))


def test_due_tasks_come_from_task_delayed(rows):
    assert_uses("task_delayed", lambda: lifecycle.promote(NOW))


def test_the_next_promotion_comes_from_task_delayed(rows):
    assert_uses("task_delayed", maintenance.next_promotion)


def test_expired_tasks_come_from_task_expiry(rows):
    assert_uses("task_expiry", lambda: lifecycle.expire(NOW))


def test_routes_are_asked_for_their_ready_tasks_by_task_ready(rows):
    assert_uses("task_ready", lambda: list(Route.objects.with_ready_tasks()))


def test_the_live_task_of_a_unique_key_is_found_by_its_index(rows):
    assert_uses("task_one_live_per_unique_key", lambda: pending(unique_key="k"))


class TestConcurrencyKeys:
    """Of which many tasks wait, on two routes, and one runs."""

    @pytest.fixture(autouse=True)
    def waiting(self, rows):
        assigned_one = pending(1, concurrency_key="k")
        lifecycle.mark(assigned_one, [])
        assert assign(assigned_one, rows) == assigned_one
        pending(50, concurrency_key="k")
        pending(50, concurrency_key="k", attrs={"cloud": "aws"})
        analyse()

    def test_what_runs_is_counted_from_task_slot(self):
        (plan,) = plans(lambda: limits.room_of_keys({("tag", "k")}))
        assert "INDEX task_slot (name=? AND concurrency_key=?)" in plan, plan

    def test_the_first_in_line_is_the_first_step_in_task_line(self):
        (plan,) = plans(lambda: limits._first_in_line({("tag", "k"): 1}))
        assert "INDEX task_line (name=? AND concurrency_key=?)" in plan, plan
        assert plan.count("TEMP B-TREE") == 1, f"more than the one line that was found is sorted: {plan}"

    def test_the_first_of_each_route_is_a_step_in_task_line_of_route(self):
        (plan,) = plans(lambda: limits._first_on_each_route({("tag", "k"): 1}))
        assert "INDEX task_line_of_route (name=? AND concurrency_key=? AND route_id>? AND route_id<?)" in plan, (
            plan
        )
        assert "INDEX task_line_of_route (name=? AND concurrency_key=? AND route_id>?)" in plan, plan

    def test_those_held_back_are_in_no_index_of_ready_tasks(self):
        room = dict.fromkeys(Route.objects.values_list("id", flat=True), 500)
        assert {task.concurrency_key for task in ready_tasks(room, 500)} == {None}
