"""How many tasks of a concurrency key are assigned at a time, and whose turn it is."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta

import pytest
from fleet import holder_of, submit
from limiting import finish, keys_running, limit, run, running

from queueapp import database, lifecycle
from queueapp.models import Task

pytestmark = pytest.mark.django_db(transaction=True)


class TestAKey:
    def test_has_one_task_assigned_at_a_time(self, fleet):
        fleet.attach(*["task=t"] * 2)
        submit(5, concurrency_key="k")
        run(fleet)
        assert keys_running() == {"k": 1}

    def test_has_as_many_as_its_queue_says(self, fleet):
        fleet.attach(*["task=t"] * 2)
        limit(concurrency_per_key=3)
        submit(5, concurrency_key="k")
        submit(2, concurrency_key="l")
        run(fleet)
        assert keys_running() == {"k": 3, "l": 2}

    def test_is_one_of_its_queue(self, fleet):
        fleet.attach("task=t,u")
        submit(2, concurrency_key="k")
        submit(2, name="u", concurrency_key="k")
        run(fleet)
        assert Counter(Task.objects.assigned().values_list("name", flat=True)) == {"t": 1, "u": 1}

    def test_counts_all_its_routes_together(self, fleet):
        fleet.attach("task=t")
        submit(5, concurrency_key="k", attrs={"n": ...})
        run(fleet)
        assert keys_running() == {"k": 1}

    def test_at_its_limit_holds_back_neither_other_keys_nor_what_has_none(self, fleet, settings):
        settings.WORKQUEUE = replace(settings.WORKQUEUE, pass_size=4)
        fleet.attach("task=t&_max_outstanding=5")
        submit(30, concurrency_key="k", priority=9)
        others = submit(1, concurrency_key="l") + submit(1)
        run(fleet)
        assert set(others) < set(running())
        assert keys_running() == {"k": 1, "l": 1, None: 1}

    def test_counts_within_the_limit_of_its_queue(self, fleet):
        fleet.attach("task=t")
        limit(concurrency=2, concurrency_per_key=3)
        for key in ("k", "l", "m"):
            submit(2, concurrency_key=key)
        run(fleet)
        assert len(running()) == 2

    def test_takes_its_tasks_in_their_order_whatever_their_routes(self, fleet):
        fleet.attach("task=t")
        submit(1, concurrency_key="k")
        run(fleet)
        late = submit(1, concurrency_key="k", attrs={"a": "b"})[0]
        then = submit(1, concurrency_key="k")[0]
        urgent = submit(1, concurrency_key="k", priority=1)[0]
        order = []
        for _ in range(4):
            run(fleet)
            order += running()
            finish(fleet, order[-1])
        assert order[1:] == [urgent, late, then]

    @pytest.mark.parametrize("end", ["error", "lost", "released", "timeout", "cancelled", "expired while pending"])
    def test_takes_the_next_when_one_ends_in_whatever_way(self, fleet, end):
        fleet.attach("task=t", "task=t")
        first = submit(1, concurrency_key="k", max_attempts=1)[0]
        run(fleet)
        then, last = submit(2, concurrency_key="k", expires_in=60)
        run(fleet)
        assert running() == [first]
        match end:
            case "error":
                finish(fleet, first, done=False, error="broken")
            case "lost":
                fleet.detach(holder_of(first))
            case "released":
                # Of the same key, and before the others in its order.
                fleet.run(releases=[(holder_of(first), first)])
                run(fleet)
                assert running() == [first]
                finish(fleet, first)
            case "timeout":
                Task.objects.filter(pk=first).update(deadline=database.now() - timedelta(seconds=1))
                fleet.run(tick=True)
            case "cancelled":
                lifecycle.cancel([first], database.now())
                fleet.run()
            case "expired while pending":
                Task.objects.filter(pk=then).update(expires_at=database.now() - timedelta(seconds=1))
                fleet.run(tick=True)
                finish(fleet, first)
                then = last
        run(fleet)
        assert running() == [then]

    @pytest.mark.parametrize("end", [lifecycle.cancel, lambda ids, now: lifecycle.expire(now)])
    def test_takes_the_next_when_the_one_whose_turn_it_was_ends_before_anybody_took_it(self, fleet, end):
        first, then = submit(1, concurrency_key="k", expires_in=60) + submit(1, concurrency_key="k")
        run(fleet)
        assert list(Task.objects.ready().values_list("id", flat=True)) == [first]
        end([first], database.now() + timedelta(seconds=61))
        fleet.attach("task=t")
        run(fleet)
        assert running() == [then]

    def test_takes_a_task_whose_time_has_come(self, fleet):
        fleet.attach("task=t")
        [task] = submit(1, concurrency_key="k", delay=60)
        run(fleet)
        assert running() == []
        Task.objects.filter(pk=task).update(delayed_until=database.now())
        run(fleet, tick=True)
        assert running() == [task]

    def test_that_is_full_when_a_retry_or_a_delay_is_over_makes_that_task_wait(self, fleet):
        fleet.attach("task=t")
        retried = submit(1, concurrency_key="k")[0]
        run(fleet)
        finish(fleet, retried)
        delayed = submit(1, concurrency_key="k", delay=60)[0]
        running_now = submit(1, concurrency_key="k")[0]
        run(fleet)
        lifecycle.retry([retried], database.now())
        Task.objects.filter(pk=delayed).update(delayed_until=database.now())
        run(fleet, tick=True)
        assert running() == [running_now]
        finish(fleet, running_now)
        assert len(running()) == 1
        finish(fleet, running()[0])
        assert len(running()) == 1

    def test_whose_limit_is_raised_takes_more_at_once(self, fleet):
        fleet.attach("task=t")
        submit(5, concurrency_key="k")
        run(fleet)
        limit(concurrency_per_key=4)
        run(fleet, roster=True)
        assert keys_running() == {"k": 4}

    def test_whose_limit_is_lowered_takes_none_until_there_is_room(self, fleet):
        fleet.attach("task=t")
        limit(concurrency_per_key=3)
        tasks = submit(6, concurrency_key="k")
        run(fleet)
        limit(concurrency_per_key=1)
        for number in (2, 1, 1):
            finish(fleet, running()[0])
            assert len(running()) == number
        assert running() == [tasks[3]]

    def test_lets_another_of_its_tasks_go_first_while_nobody_can_take_the_first_in_its_line(self, fleet):
        fleet.attach("task=t&cloud=aws")
        submit(3, concurrency_key="k", attrs={"cloud": "azure"}, priority=9)
        other = submit(1, concurrency_key="k", attrs={"cloud": "aws"})[0]
        run(fleet)
        assert running() == [other]

    def test_lets_another_go_first_while_whoever_could_take_the_first_is_full(self, fleet):
        fleet.attach("task=t&cloud=gcp&_max_outstanding=1", "task=t&cloud=aws")
        submit(1, attrs={"cloud": "gcp"})
        run(fleet)
        submit(3, concurrency_key="k", attrs={"cloud": "gcp"}, priority=9)
        others = submit(2, concurrency_key="k", attrs={"cloud": "aws"})
        run(fleet)
        assert others[0] in running()
        assert keys_running() == {"k": 1, None: 1}

    def test_holds_back_again_what_was_let_through_on_other_routes(self, fleet):
        fleet.attach("task=t&_max_outstanding=1")
        busy = submit()[0]
        run(fleet)
        submit(8, concurrency_key="k", attrs={"n": ...})
        run(fleet)
        assert Task.objects.ready().count() == 8, "each of them may be the one for which there is room first"
        plain = submit(8, attrs={"n": ...})
        fleet.attach("task=t&_max_outstanding=9")
        run(fleet)
        assert keys_running() == {"k": 1, None: 9}
        assert set(plain) < set(running())
        assert Task.objects.ready().count() == 0
        assert busy in running()

    def test_of_which_there_are_more_than_one_turn_settles_is_settled_in_the_next(self, fleet, monkeypatch):
        monkeypatch.setattr("queueapp.limits.KEYS_A_TURN", 2)
        monkeypatch.setattr("queueapp.limits.ROUTES_A_TURN", 2)
        for key in ("k", "l", "m", "n", "o"):
            submit(3, concurrency_key=key, attrs={"key": key, "n": ...})
        fleet.attach("task=t&key=k&n=2", "task=t&key=l,m,n,o")
        run(fleet)
        assert keys_running() == dict.fromkeys(("k", "l", "m", "n", "o"), 1)

    def test_goes_by_avoid_and_spills_as_other_tasks_do(self, fleet):
        general, _ = fleet.attach("task=t", "task=t&cloud=aws&_max_outstanding=1")
        submit(1, attrs={"cloud": "aws"})
        run(fleet)
        spilling = submit(2, concurrency_key="k", attrs={"cloud": "aws"}, spill_after=0)
        run(fleet)
        assert [holder_of(task) for task in spilling] == [general, None]
        first, second = fleet.attach("task=u", "task=u")
        lost = submit(name="u", concurrency_key="k", timeout=60)[0]
        run(fleet)
        before = holder_of(lost)
        Task.objects.filter(pk=lost).update(deadline=database.now() - timedelta(seconds=1))
        run(fleet, tick=True)
        assert {before, holder_of(lost)} == {first, second}
