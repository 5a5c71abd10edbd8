"""What is explained is what the dispatcher then does, and it is answered from the indexes, however much waits."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from fleet import Fleet, holder_of, submit
from hypothesis import given, settings
from hypothesis import strategies as st
from plans import analyse, plans_of

from queueapp import database, foresight, queues
from queueapp.domain.explanation import Explanation
from queueapp.explaining import explain_route, explain_task
from queueapp.models import Task

pytestmark = pytest.mark.django_db

NAMES = st.sampled_from(["tag", "scan"])
VALUES = st.sampled_from(["a", "b"])
filters = st.dictionaries(st.sampled_from(["x", "y"]), st.sets(VALUES, min_size=1), max_size=2)
attributes = st.dictionaries(st.sampled_from(["x", "y", "z"]), VALUES, max_size=3)

workers = st.fixed_dictionaries(
    {
        "names": st.sets(NAMES, min_size=1),
        "filter": filters,
        "max_outstanding": st.integers(1, 3),
        "is_draining": st.sampled_from([False, False, False, True]),
    }
)
tasks = st.fixed_dictionaries(
    {
        "name": NAMES,
        "attrs": attributes,
        "priority": st.integers(-1, 1),
        "spill_after": st.sampled_from([None, None, 0, 30]),
        "waited": st.sampled_from([0, 31, 61]),
        "avoid": st.sets(st.integers(0, 4), max_size=2),
        "is_delayed": st.sampled_from([False, False, False, True]),
    }
)


@contextmanager
def undone() -> Iterator[Fleet]:
    """A server process whose rows are gone afterwards."""
    with transaction.atomic():
        fleet = Fleet()
        try:
            yield fleet
        finally:
            fleet.unlisten()
            transaction.set_rollback(True)


def attach(fleet: Fleet, described: list[dict[str, Any]]) -> list[UUID]:
    def query(worker: dict[str, Any]) -> str:
        criteria = "".join(f"&{key}={','.join(sorted(values))}" for key, values in worker["filter"].items())
        return f"task={','.join(sorted(worker['names']))}{criteria}&_max_outstanding={worker['max_outstanding']}"

    ids = fleet.attach(*map(query, described)) if described else []
    fleet.run(drains=[i for i, worker in zip(ids, described, strict=True) if worker["is_draining"]])
    return ids


def store(task: dict[str, Any], sessions: list[UUID]) -> UUID:
    delay = {"delay": 60} if task["is_delayed"] else {}
    fields = {key: task[key] for key in ("name", "attrs", "priority", "spill_after")}
    task_id = submit(**fields, **delay)[0]
    waiting_since = database.now() - timedelta(seconds=task["waited"])
    avoid = [str(sessions[place]) for place in task["avoid"] if place < len(sessions)]
    Task.objects.filter(pk=task_id).update(waiting_since=waiting_since, avoid=avoid or None)
    return task_id


def explained(task_id: UUID) -> Explanation:
    return explain_task(Task.objects.select_related("route").get(pk=task_id), None, database.now())


def chosen(explanation: Explanation) -> UUID | None:
    return explanation.chosen.worker.id if explanation.chosen else None


class TestWhoeverIsNamed:
    def test_is_given_the_task_now_and_where_nobody_is_nobody_is_given_it(self, db):
        @settings(max_examples=60, deadline=None)
        @given(st.lists(workers, max_size=5), st.lists(tasks, max_size=8), NAMES, attributes, st.sets(NAMES))
        def check(
            described: list[dict[str, Any]],
            waiting: list[dict[str, Any]],
            name: str,
            attrs: dict[str, str],
            paused: set[str],
        ) -> None:
            with undone() as fleet:
                sessions = attach(fleet, described)
                ids = [store(task, sessions) for task in waiting]
                if len(paused) == 1:  # with both there is nothing to foresee
                    queues.pause(paused, "me", "", database.now())
                expected = chosen(explain_route(name, attrs, None, database.now()))
                new = submit(name=name, attrs=attrs)[0]
                foreseen = {task_id: chosen(explained(task_id)) for task_id in [*ids, new]}
                outbox = fleet.run(tick=True)
                while outbox.more:  # with tasks for which there was no room to look; the next follows at once
                    outbox = fleet.run()
                assert {task_id: holder_of(task_id) for task_id in foreseen} == foreseen
                assert foreseen[new] == expected

        check()

    def test_is_the_first_of_equals_that_differ_in_what_they_offer(self, db):
        """Whose order in a set of profiles is another in each process."""
        for _ in range(5):
            with undone() as fleet:
                ids = fleet.attach(*[f"task=t&x=a,{number}" for number in range(20)])
                task_id = submit(attrs={"x": "a"})[0]
                assert chosen(explained(task_id)) == min(ids)
                fleet.run(tick=True)
                assert holder_of(task_id) == min(ids)

    def test_is_nobody_while_a_pass_has_no_turn_for_it(self, settings):
        settings.WORKQUEUE = replace(settings.WORKQUEUE, pass_size=3)
        with undone() as fleet:
            fleet.attach("task=t")
            ids = submit(5)
            foreseen = {task_id: chosen(explained(task_id)) for task_id in ids}
            fleet.run(tick=True)
            assert {task_id: holder_of(task_id) for task_id in ids} == foreseen
            assert explained(ids[4]).reasons[0].cause == "ready"


class TestWhatIsAhead:
    def ahead(self, task_id: UUID) -> tuple[int, bool]:
        foreseen = explained(task_id).foreseen
        assert foreseen is not None
        return foreseen.ahead, foreseen.is_exact

    def test_is_what_the_contracts_order_puts_before_it(self):
        with undone() as fleet:
            fleet.attach("task=t&_max_outstanding=1")
            submit(2, priority=-1)
            older = submit(3)
            submit(1, priority=5)
            task_id = submit()[0]
            submit(2)
            assert self.ahead(task_id) == (4, True)
            Task.objects.filter(pk=older[0]).update(available_at=database.now())
            assert self.ahead(task_id) == (3, True)

    def test_is_of_other_routes_too_where_the_same_workers_may_take_it(self):
        with undone() as fleet:
            fleet.attach("task=t,u&_max_outstanding=1")
            submit(2, attrs={"cloud": "aws"})
            submit(2, name="u")
            submit(2, name="nobody")
            assert self.ahead(submit()[0]) == (4, True)

    def test_is_not_what_waits_for_more_specific_workers_unless_it_has_spilled(self):
        with undone() as fleet:
            fleet.attach("task=t&_max_outstanding=1", "task=t&cloud=aws&_max_outstanding=1")
            fleet.run(tick=True)
            waiting = submit(2, attrs={"cloud": "aws"}, spill_after=30)
            submit(2, attrs={"cloud": "aws"})
            task_id = submit()[0]
            assert self.ahead(task_id) == (0, True)
            Task.objects.filter(pk=waiting[1]).update(waiting_since=database.now() - timedelta(seconds=31))
            assert self.ahead(task_id) == (1, True)

    def test_is_not_what_is_delayed_or_paused(self):
        with undone() as fleet:
            fleet.attach("task=t,u&_max_outstanding=1")
            submit(2, delay=60)
            submit(2, name="u")
            queues.pause(["u"], "me", "", database.now())
            assert self.ahead(submit()[0]) == (0, True)

    def test_is_counted_up_to_a_bound(self, monkeypatch):
        monkeypatch.setattr(foresight, "COUNTED_AHEAD", 5)
        with undone() as fleet:
            fleet.attach("task=t&_max_outstanding=1")
            submit(5)
            at_bound, beyond = submit(2)
            assert self.ahead(at_bound) == (5, True)
            assert self.ahead(beyond) == (5, False)

    @pytest.mark.parametrize("bound", ["ROUTES_LOOKED_AT", "MATCHES_TRIED"])
    def test_is_not_said_to_be_all_where_not_all_routes_were_looked_at(self, monkeypatch, bound):
        monkeypatch.setattr(foresight, bound, 2)
        with undone() as fleet:
            fleet.attach("task=t&_max_outstanding=1")
            submit(5, attrs={"n": ...})
            count, is_exact = self.ahead(submit()[0])
            assert count <= 2
            assert not is_exact


class TestTheStatements:
    @pytest.mark.only_on("sqlite", reason="plans are read as SQLite writes them")
    def test_count_what_is_ahead_from_two_ranges_of_task_ready(self):
        with undone() as fleet:
            fleet.attach("task=t&_max_outstanding=1", "task=t&cloud=aws")
            submit(50)
            submit(50, attrs={"cloud": "aws"}, spill_after=30)
            plan = self.plan_of_the_count(submit()[0])
        assert plan.count("INDEX task_ready (route_id=? AND priority>?)") == 1, plan
        assert plan.count("INDEX task_ready (route_id=? AND priority=? AND (available_at,id)<(?,?))") == 1, plan
        assert plan.count("INDEX task_ready_spilling (route_id=?") == 2, plan
        assert "SCAN task" not in plan, plan

    @pytest.mark.only_on("postgresql", reason="plans are read as PostgreSQL writes them")
    def test_count_what_is_ahead_from_ranges_of_the_partial_indexes(self):
        with undone() as fleet:
            fleet.attach("task=t&_max_outstanding=1", "task=t&cloud=aws")
            submit(2000)
            for zone in range(20):
                submit(200, attrs={"cloud": "aws", "zone": str(zone)}, spill_after=30)
            task_id = submit()[0]
            analyse()
            plan = self.plan_of_the_count(task_id)
        assert "Seq Scan on queueapp_task" not in plan, plan
        conditions = [line for line in plan.splitlines() if "Index Cond: ((route_id = rival" in line]
        assert len(conditions) == 4, plan
        assert sum("(priority = 0) AND (ROW(available_at, id) < ROW(" in each for each in conditions) == 2, plan

    def plan_of_the_count(self, task_id: UUID) -> str:
        [plan] = plans_of(lambda: explained(task_id), "AS ahead")
        return plan

    def test_are_as_many_however_many_tasks_and_workers_there_are(self):
        with undone() as fleet:
            fleet.attach("task=t&cloud=aws&_max_outstanding=1")
            task_id, _ = submit(attrs={"cloud": "aws"})[0], submit(attrs={"cloud": "aws", "n": ...})
            with CaptureQueriesContext(connection) as few:
                explained(task_id)
            fleet.attach(*[f"task=t&cloud=aws&account={number}" for number in range(50)])
            submit(500, attrs={"cloud": "aws", "n": ...})
            with CaptureQueriesContext(connection) as many:
                explained(task_id)
        assert len(many) == len(few)


def test_what_is_ahead_is_seen_where_there_is_less_room_than_tasks():
    """The next pass looks for no more tasks than there is room for; who explains looks further."""
    with undone() as fleet:
        fleet.attach("task=t&k=x&_max_outstanding=1", "task=t&k=y&_max_outstanding=1")
        submit(1, attrs={"k": "x", "n": "1"}, priority=5)
        submit(1, attrs={"k": "x", "n": "2"}, priority=4)
        (third,) = submit(1, attrs={"k": "y", "n": "3"}, priority=3)
        (fourth,) = submit(1, attrs={"k": "y", "n": "4"}, priority=2)
        tasks = (Task.objects.select_related("route").get(pk=each) for each in (third, fourth))
        is_next, is_behind = (explain_task(task, None, database.now()).summary for task in tasks)
        assert is_next.startswith("It is next")
        assert "1 task is ahead" in is_behind
