"""The dispatcher over real rows: who gets what, and what waits."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from fleet import holder_of, holders, submit

from queueapp import database, queues
from queueapp.domain.states import Outcome, TaskState
from queueapp.models import Task, WorkerSession

pytestmark = pytest.mark.django_db(transaction=True)


class TestChoice:
    def test_twenty_tasks_to_four_equal_workers_are_five_each(self, fleet):
        workers = fleet.attach(*["task=t"] * 4)
        submit(20)
        fleet.run()
        assert holders() == dict.fromkeys(workers, 5)

    def test_tasks_submitted_one_by_one_spread_evenly_too(self, fleet):
        workers = fleet.attach(*["task=t"] * 4)
        for _ in range(8):
            submit()
            fleet.run()
        assert holders() == dict.fromkeys(workers, 2)

    def test_seed_example_a_task_of_cloud_aws_account_123_goes_to_worker2_and_only_worker2(self, fleet):
        worker1, worker2 = fleet.attach("task=tag&cloud=aws,gcp", "task=tag&cloud=aws&account=123")
        tasks = submit(10, "tag", attrs={"cloud": "aws", "account": "123"})
        others = submit(4, "tag", attrs={"cloud": "gcp", "account": "123"})
        fleet.run()
        assert {holder_of(task) for task in tasks} == {worker2}
        assert {holder_of(task) for task in others} == {worker1}

    def test_while_the_most_specific_worker_is_full_its_tasks_wait_and_others_flow(self, fleet):
        general, special = fleet.attach("task=t", "task=t&cloud=aws&_max_outstanding=1")
        first, second = submit(2, attrs={"cloud": "aws"})
        other = submit(1, attrs={"cloud": "gcp"})[0]
        fleet.run()
        assert [holder_of(task) for task in (first, second, other)] == [special, None, general]
        fleet.finish(special, first)
        assert holder_of(second) == special

    def test_of_workers_with_equal_load_the_one_idle_longest_is_taken(self, fleet):
        slow, quick = fleet.attach("task=t", "task=t")
        first, second = submit(2)
        fleet.run()
        by_holder = {holder_of(first): first, holder_of(second): second}
        fleet.finish(quick, by_holder[quick])
        fleet.finish(slow, by_holder[slow])
        third = submit()[0]
        fleet.run()
        assert holder_of(third) == quick

    def test_a_worker_with_two_matching_subscriptions_counts_with_its_most_specific(self, fleet):
        parsed = fleet.attach("task=t&cloud=aws", "task=t")
        task = submit(1, attrs={"cloud": "aws"})[0]
        fleet.run()
        assert holder_of(task) == parsed[0]

    def test_priority_comes_first_then_availability_then_order_of_submission(self, fleet):
        late = submit(priority=0)[0]
        last = submit(priority=-1)[0]
        first = submit(priority=5)[0]
        then = submit(priority=0)[0]
        (worker,) = fleet.attach("task=t&_max_outstanding=1")
        order = []
        for _ in range(4):
            order.append(Task.objects.assigned().get().id)
            fleet.finish(worker, order[-1])
        assert order == [first, late, then, last]

    def test_what_became_available_in_the_past_comes_before_what_is_submitted_now(self, fleet):
        fleet.attach("task=t")
        (third,) = submit()
        (second,) = submit(available_at="2020-06-01T00:00:00Z")
        (first,) = submit(available_at="2020-01-01T00:00:00.5+01:00")
        told = [assignment.task.task_id for assignment in fleet.run().assignments]
        assert told == [first, second, third]

    def test_who_is_given_several_at_once_is_told_of_them_in_that_order(self, fleet):
        fleet.attach("task=t", "task=t")
        last, first, third, second = (submit(priority=number)[0] for number in (-1, 5, 0, 3))
        told = [assignment.task.task_id for assignment in fleet.run().assignments]
        assert told == [first, second, third, last]


class TestCapacity:
    def test_no_worker_holds_more_than_it_said(self, fleet):
        small, large = fleet.attach("task=t&_max_outstanding=3", "task=t&_max_outstanding=7")
        submit(30)
        fleet.run()
        assert holders() == {small: 3, large: 7}

    def test_a_worker_that_lowers_its_capacity_gets_no_more_until_it_is_below(self, fleet):
        (worker,) = fleet.attach("task=t&_max_outstanding=3")
        submit(6)
        fleet.run()
        fleet.run(capacities=[(worker, 1)])
        held = list(Task.objects.held_by([worker]).values_list("id", flat=True))
        fleet.finish(worker, *held[:2])
        assert holders() == {worker: 1}

    def test_a_worker_that_raises_its_capacity_gets_more_at_once(self, fleet):
        (worker,) = fleet.attach("task=t&_max_outstanding=1")
        submit(6)
        fleet.run()
        fleet.run(capacities=[(worker, 5)])
        assert holders() == {worker: 5}

    def test_more_tasks_than_a_pass_takes_are_assigned_by_the_passes_that_follow(self, fleet, settings):
        workers = fleet.attach(*["task=t&_max_outstanding=1000"] * 2)
        submit(1200)
        outbox = fleet.run()
        while outbox.more:
            outbox = fleet.run()
        assert holders() == dict.fromkeys(workers, 600)


class TestSpill:
    def test_after_spill_after_the_next_lower_specificity_may_take_it(self, fleet):
        general, special = fleet.attach("task=t", "task=t&cloud=aws&_max_outstanding=1")
        first, second = submit(2, attrs={"cloud": "aws"}, spill_after=30)
        fleet.run()
        assert {holder_of(first), holder_of(second)} == {special, None}
        waiting = Task.objects.pending().get()
        Task.objects.filter(pk=waiting.pk).update(waiting_since=waiting.waiting_since - timedelta(seconds=31))
        fleet.run(tick=True)
        assert holder_of(waiting.pk) == general

    def test_those_that_may_spill_fill_both_levels_in_one_pass(self, fleet):
        general, special = fleet.attach("task=t&_max_outstanding=2", "task=t&cloud=aws&_max_outstanding=2")
        submit(4, attrs={"cloud": "aws"}, spill_after=0)
        fleet.run()
        assert holders() == {general: 2, special: 2}

    def test_many_that_may_not_spill_yet_hold_back_none_that_somebody_can_take(self, fleet, settings):
        settings.WORKQUEUE = replace(settings.WORKQUEUE, pass_size=10)
        general, _ = fleet.attach("task=t&_max_outstanding=5", "task=t&cloud=aws&_max_outstanding=1")
        submit(30, attrs={"cloud": "aws"}, spill_after=3600, priority=9)
        other = submit(1, attrs={"cloud": "gcp"})[0]
        fleet.run()
        fleet.run(tick=True)
        assert holder_of(other) == general

    def test_many_that_may_not_spill_so_far_down_yet_hold_back_none_that_may(self, fleet, settings):
        settings.WORKQUEUE = replace(settings.WORKQUEUE, pass_size=10)
        full = ["task=t&cloud=aws&zone=a&_max_outstanding=1", "task=t&cloud=aws&_max_outstanding=1"]
        general, *_ = fleet.attach("task=t&_max_outstanding=20", *full)
        submit(2, attrs={"cloud": "aws", "zone": "a"}, spill_after=0)
        fleet.run()
        submit(30, attrs={"cloud": "aws", "zone": "a"}, spill_after=30, priority=9)
        other = submit(1, attrs={"cloud": "aws"}, spill_after=30)[0]
        Task.objects.update(waiting_since=database.now() - timedelta(seconds=31))
        fleet.run()
        fleet.run(tick=True)
        assert holder_of(other) == general

    def test_a_full_pass_gives_none_to_a_less_specific_worker_before_those_of_higher_priority(
        self, fleet, settings
    ):
        settings.WORKQUEUE = replace(settings.WORKQUEUE, pass_size=2)
        general, _ = fleet.attach("task=t&_max_outstanding=4", "task=t&cloud=aws&_max_outstanding=1")
        submit(2, attrs={"cloud": "aws"}, spill_after=0)
        urgent = submit(4, priority=9)
        while fleet.run(roster=True).more:
            pass
        assert [holder_of(task_id) for task_id in urgent] == [general] * 4

    def test_without_spill_after_it_waits_however_long(self, fleet):
        _, special = fleet.attach("task=t", "task=t&cloud=aws&_max_outstanding=1")
        submit(2, attrs={"cloud": "aws"})
        fleet.run()
        Task.objects.pending().update(waiting_since=database.now() - timedelta(days=1))
        fleet.run(tick=True)
        assert holders() == {special: 1}


class TestWhoTakesNoPart:
    def test_a_paused_queue_waits_until_it_is_resumed(self, fleet):
        fleet.attach("task=t,u")
        paused, other = submit(name="t")[0], submit(name="u")[0]
        queues.pause(["t"], "me", "broken", database.now())
        fleet.run()
        assert holder_of(paused) is None
        assert holder_of(other) is not None
        queues.resume(["t"])
        fleet.run(roster=True)
        assert holder_of(paused) is not None

    def test_a_draining_worker_gets_nothing_more_and_may_finish(self, fleet):
        (worker,) = fleet.attach("task=t")
        held = submit()[0]
        fleet.run()
        fleet.run(drains=[worker])
        submit()
        fleet.run()
        assert holders() == {worker: 1}
        assert fleet.finish(worker, held) == ["accepted"]


class TestLoss:
    def test_fifty_tasks_of_a_worker_that_dies_are_with_others_after_one_pass(self, fleet):
        dying, *others = fleet.attach(*["task=t&_max_outstanding=50"] * 3)
        tasks = submit(100)
        fleet.run()
        more = submit(50)
        fleet.run()
        lost = list(Task.objects.held_by([dying]).values_list("id", flat=True))
        assert len(lost) == 50
        for worker in others:  # room for what is lost
            fleet.finish(worker, *Task.objects.held_by([worker]).values_list("id", flat=True))
        fleet.detach(dying)
        assert {holder_of(task) for task in lost} <= set(others)
        assert sum(holders().values()) == 50
        assert fleet.finish(dying, *lost) == ["stale"] * 50
        for worker in others:
            held = list(Task.objects.held_by([worker]).values_list("id", flat=True))
            assert fleet.finish(worker, *held) == ["accepted"] * len(held)
        assert Task.objects.filter(state="succeeded").count() == len(tasks) + len(more)
        counts = {s.id: s.outstanding for s in WorkerSession.objects.with_outstanding()}
        assert counts == dict.fromkeys([dying, *others], 0)

    def test_a_task_that_timed_out_on_a_worker_goes_to_another_candidate(self, fleet):
        first, second = fleet.attach("task=t", "task=t")
        task = submit(timeout=60)[0]
        fleet.run()
        holder = holder_of(task)
        assert holder in (first, second)
        other = second if holder == first else first
        submit(10)  # so that the other is the busier one
        fleet.run()
        Task.objects.filter(pk=task).update(deadline=database.now() - timedelta(seconds=1))
        busy = Task.objects.held_by([holder]).exclude(pk=task).values_list("id", flat=True)
        fleet.finish(holder, *busy)
        fleet.run(tick=True)
        assert holder_of(task) == other

    def test_it_is_taken_again_by_the_same_worker_if_no_other_has_room(self, fleet):
        (worker,) = fleet.attach("task=t")
        task = submit()[0]
        fleet.run()
        Task.objects.filter(pk=task).update(deadline=database.now() - timedelta(seconds=1))
        fleet.run(tick=True)
        assert holder_of(task) == worker
        assert Task.objects.get(pk=task).attempt == 2

    def test_a_task_whose_workers_keep_dying_is_stopped(self, fleet):
        task = submit(max_attempts=2)[0]
        for _ in range(2):
            (worker,) = fleet.attach("task=t")
            fleet.run()
            fleet.detach(worker)
        row = Task.objects.get(pk=task)
        assert (row.state, row.reason) == (TaskState.FAILED, Outcome.LOST)

    def test_released_attempts_cost_nothing(self, fleet):
        task = submit(max_attempts=1)[0]
        for _ in range(3):
            (worker,) = fleet.attach("task=t")
            fleet.run()
            fleet.detach(worker, Outcome.RELEASED)
        (worker,) = fleet.attach("task=t")
        fleet.run()
        assert fleet.finish(worker, task) == ["accepted"]


class TestBacklog:
    def test_ten_thousand_tasks_that_nobody_matches_cost_the_one_that_somebody_does_nothing(self, fleet):
        fleet.attach("task=t&cloud=aws")
        submit(1, attrs={"cloud": "aws"})
        with CaptureQueriesContext(connection) as empty:
            fleet.run()
        for _ in range(10):
            submit(1000, attrs={"cloud": "azure", "n": ...})
        fleet.run()  # learns of the routes, once
        task = submit(1, attrs={"cloud": "aws"})[0]
        with CaptureQueriesContext(connection) as full:
            fleet.run()
        assert holder_of(task) is not None
        assert len(full) <= len(empty)
        assert not any("azure" in (query["sql"] or "") for query in full)

    def test_a_worker_that_comes_later_finds_what_waits_for_it(self, fleet):
        task = submit(1, attrs={"cloud": "azure"})[0]
        fleet.attach("task=t&cloud=aws")
        assert holder_of(task) is None
        (worker,) = fleet.attach("task=t&cloud=azure")
        assert holder_of(task) == worker

    def test_the_slow_poll_finds_tasks_of_which_nobody_has_rung(self, fleet):
        (worker,) = fleet.attach("task=t")
        known = submit(1)[0]
        fleet.run()
        fleet.unlisten()
        old_route, new_route = submit(1)[0], submit(1, attrs={"new": "route"})[0]
        fleet.run()
        assert holder_of(old_route) is None
        fleet.run(tick=True)
        assert {holder_of(task) for task in (known, old_route, new_route)} == {worker}
        fleet.unlisten = lambda: None

    def test_a_delayed_task_is_assigned_when_its_time_has_come(self, fleet):
        (worker,) = fleet.attach("task=t")
        task = submit(1, delay=60)[0]
        outbox = fleet.run(tick=True)
        assert holder_of(task) is None
        assert outbox.promote_at is not None
        Task.objects.filter(pk=task).update(delayed_until=database.now())
        fleet.run(tick=True)
        assert holder_of(task) == worker


class TestRoutesUnderABacklog:
    def test_that_have_nothing_ready_any_more_are_looked_at_no_longer(self, fleet):
        """Guard: `_cool_unswept`. A pass that has less room than there are tasks sees no route to its end."""
        (worker,) = fleet.attach("task=t&_max_outstanding=3")
        submit(20, attrs={"of": "the backlog"})
        urgent = submit(6, attrs={"of": ...}, priority=1)
        fleet.run()
        while held := set(Task.objects.assigned().values_list("id", flat=True)) & set(urgent):
            fleet.finish(worker, *held)
        assert Task.objects.pending().exists()
        fleet.run(tick=True)
        assert len(fleet.process._dispatcher._hot) == 1
