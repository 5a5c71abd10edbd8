"""How many tasks of a queue are assigned at a time, and what goes on meanwhile; what limits cost, and who dies."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from django.db import transaction
from fleet import Fleet, holder_of, holders, submit
from limiting import finish, keys_running, limit, run, running

from queueapp import database, lifecycle, queues
from queueapp.models import ChangedKey, Task
from tests.asking import asking

pytestmark = pytest.mark.django_db(transaction=True)


class TestAQueue:
    def test_has_no_more_assigned_than_it_may(self, fleet):
        fleet.attach(*["task=t"] * 2)
        limit(concurrency=3)
        submit(10)
        run(fleet)
        assert len(running()) == 3

    def test_at_its_limit_holds_back_no_other(self, fleet):
        fleet.attach("task=t,u")
        limit(concurrency=1)
        submit(10, priority=9)
        other = submit(name="u")[0]
        run(fleet)
        assert holder_of(other) is not None

    def test_with_more_tasks_than_a_pass_takes_holds_back_no_other(self, fleet, settings):
        settings.WORKQUEUE = replace(settings.WORKQUEUE, pass_size=4)
        fleet.attach("task=t,u")
        limit(concurrency=1)
        submit(20, priority=9, attrs={"n": ...})
        other = submit(name="u")[0]
        run(fleet)
        assert holder_of(other) is not None

    def test_counts_all_its_routes_together(self, fleet):
        fleet.attach("task=t")
        limit(concurrency=3)
        submit(10, attrs={"n": ...})
        run(fleet)
        assert len(running()) == 3

    def test_takes_the_next_when_one_ends(self, fleet):
        fleet.attach("task=t")
        limit(concurrency=1)
        tasks = submit(3)
        run(fleet)
        for now, then in pairwise(tasks):
            finish(fleet, now)
            assert running() == [then]

    def test_takes_the_one_of_the_highest_priority_next_whatever_its_route(self, fleet):
        fleet.attach("task=t")
        limit(concurrency=1)
        [first, *_] = submit(3)
        run(fleet)
        [urgent] = submit(priority=5, attrs={"a": "b"})
        finish(fleet, first)
        assert running() == [urgent]

    def test_whose_limit_is_lowered_lets_go_on_what_runs_and_takes_none_until_there_is_room(self, fleet):
        fleet.attach("task=t")
        tasks = submit(4)
        run(fleet)
        limit(concurrency=2)
        submit(2)
        run(fleet)
        assert running() == tasks
        finish(fleet, tasks[0])
        finish(fleet, tasks[1])
        assert running() == tasks[2:]
        finish(fleet, tasks[2])
        assert len(running()) == 2

    def test_whose_limit_is_raised_or_taken_away_takes_more_at_once(self, fleet):
        fleet.attach("task=t")
        limit(concurrency=1)
        submit(9)
        run(fleet)
        for concurrency, number in ((4, 4), (None, 9)):
            limit(concurrency=concurrency)
            run(fleet, roster=True)
            assert len(running()) == number

    def test_that_is_paused_takes_none_within_its_limit(self, fleet):
        fleet.attach("task=t")
        limit(concurrency=1)
        submit()
        queues.pause(["t"], "me", "", database.now())
        run(fleet)
        assert running() == []

    def test_limits_what_spills_too(self, fleet):
        general, special = fleet.attach("task=t", "task=t&cloud=aws&_max_outstanding=1")
        limit(concurrency=3)
        submit(6, attrs={"cloud": "aws"}, spill_after=0)
        run(fleet)
        assert holders() == {general: 2, special: 1}


class TestWhoeverDies:
    def test_the_slow_poll_finds_a_slot_that_nobody_heard_of(self, fleet):
        fleet.attach("task=t")
        first, then = submit(2, concurrency_key="k")
        run(fleet)
        fleet.unlisten()
        lifecycle.finish([lifecycle.Report(holder_of(first), first, done=True)], database.now())
        fleet.run()
        assert running() == [], "nobody rang"
        run(fleet, tick=True)
        assert running() == [then]
        fleet.unlisten = lambda: None

    def test_another_process_goes_on_where_one_died_after_it_had_let_a_task_through(self, fleet):
        _, then = submit(2, concurrency_key="k", attrs={"n": ...})
        run(fleet)
        assert ChangedKey.objects.count() == 0
        other = Fleet()
        other.attach("task=t&n=1")
        run(other)
        assert running() == [then]
        other.unlisten()

    def test_notes_go_with_the_change_that_was_rolled_back(self, fleet):
        with transaction.atomic():
            submit(1, concurrency_key="k")
            transaction.set_rollback(True)
        assert not ChangedKey.objects.exists()


class TestWhatItCosts:
    def count(self, act) -> list[str]:
        with asking() as asked:
            act()
        return asked

    def test_nothing_where_there_are_no_limits(self, fleet):
        fleet.attach("task=t")
        submit()
        run(fleet)
        [task] = submit()
        asked = self.count(fleet.run)
        assert holder_of(task) is not None
        assert not any("changedkey" in sql or "concurrency_per_key" in sql for sql in asked)
        asked = self.count(lambda: fleet.finish(holder_of(task), task))
        assert not any("changedkey" in sql for sql in asked)
        assert not any("changedkey" in sql for sql in self.count(submit))

    def test_no_statement_more_however_many_wait_for_a_key(self, fleet):
        fleet.attach("task=t")
        submit(1, concurrency_key="k")
        run(fleet)
        submit()
        alone = self.count(fleet.run)
        submit(3000, concurrency_key="k", priority=9)
        run(fleet)
        submit()
        beside = self.count(fleet.run)
        assert len(beside) == len(alone)
        assert Task.objects.ready().count() == 0

    def test_a_slot_that_frees_lets_through_one_task_however_many_wait_on_however_many_routes(self, fleet):
        fleet.attach("task=t")
        submit(50, concurrency_key="k", attrs={"n": ...})
        run(fleet)
        for _ in range(3):
            [task] = running()
            fleet.finish(holder_of(task), task)
            run(fleet)
            assert Task.objects.ready().count() == 0, "let through for nothing"
            assert keys_running() == {"k": 1}
