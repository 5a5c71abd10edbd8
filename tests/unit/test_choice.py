"""Which of the matching workers takes a task: the contract, section 2, rules 3, 4 and 6."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
import reference
from fleets import fleets, profile_of, tasks
from hypothesis import given
from hypothesis import strategies as st

from queueapp.domain.choice import Chooser, Load, tiers_allowed
from queueapp.domain.matching import tiers_of_profiles

NOW = 100.0


def load(worker: str, outstanding: int = 0, max_outstanding: int = 100, idle_since: float = 0.0) -> Load[str]:
    return Load(worker, outstanding, max_outstanding, idle_since)


def load_of(worker: dict[str, Any]) -> Load[str]:
    return load(worker["id"], worker["outstanding"], worker["max_outstanding"], worker["idle_since"])


def worker(number: int, *filters: dict[str, list[str]], **fields: Any) -> dict[str, Any]:
    return {
        "id": f"worker{number}",
        "subscriptions": [{"name": "tag", "filter": filter} for filter in filters],
        "outstanding": 0,
        "max_outstanding": 100,
        "idle_since": number,
        **fields,
    }


def given_by_us(fleet: list[dict[str, Any]], tasks: list[dict[str, Any]]) -> list[str | None]:
    """The choices of one Chooser for all the tasks, with the tiers shared between them as in a pass."""
    return given_by(Chooser(map(load_of, fleet)), fleet, tasks, {})


def given_by(
    chooser: Chooser[str],
    fleet: list[dict[str, Any]],
    tasks: list[dict[str, Any]],
    tiers_by_profiles: dict[Any, list[Sequence[str]]],
) -> list[str | None]:
    chosen = []
    for task in tasks:
        profiles = tiers_of_profiles(map(profile_of, fleet), task["name"], task["attrs"])
        if profiles not in tiers_by_profiles:
            tiers_by_profiles[profiles] = [[w["id"] for w in fleet if profile_of(w) in tier] for tier in profiles]
        allowed = tiers_allowed(task.get("waited", 0), task.get("spill_after"))
        chosen.append(chooser.choose(tiers_by_profiles[profiles], allowed, task.get("avoid", ())))
    return chosen


class TestASequenceOfTasks:
    @given(fleets(), st.lists(tasks, max_size=25))
    def test_goes_where_it_would_go_one_at_a_time(self, fleet, tasks):
        ours = given_by_us(fleet, tasks)
        assert ours == reference.give(copy.deepcopy(fleet), tasks, NOW)

    @given(fleets(), st.lists(tasks, max_size=40))
    def test_never_fills_a_worker_beyond_its_capacity(self, fleet, tasks):
        taken = Counter(given_by_us(fleet, tasks))
        for each in fleet:
            assert taken[each["id"]] <= max(0, each["max_outstanding"] - each["outstanding"])

    @given(fleets(), st.lists(tasks, max_size=25), st.data())
    def test_goes_on_past_tasks_that_nobody_can_take(self, fleet, tasks, data):
        places = data.draw(st.lists(st.integers(0, len(tasks)), max_size=5))
        hindered = list(tasks)
        for place in sorted(places, reverse=True):
            hindered.insert(place, {"name": "nobody", "attrs": {}})
        chosen = given_by_us(fleet, hindered)
        assert [c for c, t in zip(chosen, hindered, strict=True) if t["name"] != "nobody"] == given_by_us(
            fleet, tasks
        )


class TestPassAfterPass:
    """One Chooser that is only told what has changed."""

    @given(fleets(), st.lists(st.lists(tasks, max_size=12), max_size=6), st.data())
    def test_goes_where_it_would_go_if_each_pass_began_anew(self, fleet, passes, data):
        chooser = Chooser(load_of(worker) for worker in fleet)
        tiers_by_profiles: dict[Any, list[Sequence[str]]] = {}
        for number, submitted in enumerate(passes, start=1):
            changed = data.draw(st.lists(st.sampled_from(fleet), unique_by=id)) if fleet else []
            idle_since = data.draw(st.permutations(range(len(changed))))
            for worker, since in zip(changed, idle_since, strict=True):
                worker["outstanding"] = data.draw(st.integers(0, 3))
                worker["max_outstanding"] = data.draw(st.integers(0, 4))
                worker["idle_since"] = 100 * number + since
            chooser.update(map(load_of, changed))
            # What is given in a pass is only tried: the loads do not say so afterwards.
            right = reference.give(copy.deepcopy(fleet), submitted, 100 * number + 50)
            assert given_by(chooser, fleet, submitted, tiers_by_profiles) == right

    def test_who_has_gone_is_not_chosen_any_more(self):
        chooser = Chooser([load("first"), load("second", 1)])
        tier = ["first", "second"]
        assert chooser.choose([tier]) == "first"
        chooser.update([], gone=["first"])
        assert [chooser.choose([tier]) for _ in range(2)] == ["second", "second"]

    def test_who_was_full_is_chosen_again_when_there_is_room(self):
        chooser = Chooser([load("a", 1, 1)])
        tier = ["a"]
        assert chooser.choose([tier]) is None
        chooser.update([load("a", 0, 1)])
        assert chooser.choose([tier]) == "a"

    def test_changes_without_end_do_not_pile_up(self):
        chooser = Chooser([load(f"worker{number}") for number in range(10)])
        tier = [f"worker{number}" for number in range(10)]
        sizes = set()
        for number in range(1000):
            chooser.update([load("worker3", idle_since=number)])
            assert chooser.choose([tier]) == "worker0"
            sizes.add(len(chooser._heap(tier)) + len(chooser._changes))
        assert max(sizes) < 300


class TestTheSeedExample:
    worker1 = worker(1, {"cloud": ["aws", "gcp"]})
    worker2 = worker(2, {"cloud": ["aws"], "account": ["123"]}, max_outstanding=3)
    task = {"name": "tag", "attrs": {"cloud": "aws", "account": "123"}}

    def test_seed_example_a_task_of_cloud_aws_account_123_goes_to_worker2_and_only_worker2(self):
        assert given_by_us([self.worker1, self.worker2], [self.task] * 3) == ["worker2"] * 3

    def test_seed_example_when_worker2_is_full_the_task_waits(self):
        assert given_by_us([self.worker1, self.worker2], [self.task] * 5) == ["worker2"] * 3 + [None] * 2

    def test_seed_example_tasks_of_other_accounts_and_clouds_go_to_worker1(self):
        others = [
            {"name": "tag", "attrs": {"cloud": "aws", "account": "456"}},
            {"name": "tag", "attrs": {"cloud": "gcp", "account": "123"}},
            {"name": "tag", "attrs": {"cloud": "aws"}},
        ]
        assert given_by_us([self.worker1, self.worker2], others) == ["worker1"] * 3


class TestLeastOutstanding:
    def test_twenty_tasks_to_four_equal_workers_are_five_each(self):
        fleet = [worker(number, {}) for number in range(4)]
        chosen = given_by_us(fleet, [{"name": "tag", "attrs": {}}] * 20)
        assert Counter(chosen) == {"worker0": 5, "worker1": 5, "worker2": 5, "worker3": 5}

    def test_comes_first_whatever_share_of_its_capacity_that_is(self):
        chooser = Chooser([load("small", 1, 2), load("large", 2, 1000)])
        assert chooser.choose([["small", "large"]]) == "small"

    def test_among_equals_the_one_idle_longest_is_taken(self):
        chooser = Chooser([load("busy", idle_since=50), load("idle", idle_since=10)])
        assert [chooser.choose([["busy", "idle"]]) for _ in range(4)] == ["idle", "busy", "idle", "busy"]

    def test_a_worker_that_has_just_been_given_a_task_is_not_the_one_idle_longest(self):
        chooser = Chooser([load("given", 1, idle_since=5), load("idle", 2, idle_since=10)])
        assert [chooser.choose([["given", "idle"]]) for _ in range(2)] == ["given", "idle"]

    def test_counts_what_a_worker_was_given_through_another_tier(self):
        chooser = Chooser([load("both", idle_since=1), load("general", idle_since=2)])
        assert chooser.choose([["both"]]) == "both"
        assert chooser.choose([["both", "general"]]) == "general"


class TestRoom:
    def test_is_none_where_all_are_full(self):
        chooser = Chooser([load("a", 1, 1), load("b", 5, 2)])
        tier = ["a", "b"]
        assert not chooser.has_room(tier)
        assert chooser.choose([tier]) is None

    def test_ends_with_the_last_place_given(self):
        chooser = Chooser([load("a", 0, 1)])
        tier = ["a"]
        assert chooser.has_room(tier)
        assert chooser.choose([tier]) == "a"
        assert not chooser.has_room(tier)

    def test_of_a_worker_that_is_not_online_is_none(self):
        assert Chooser([load("online")]).choose([["gone"]]) is None

    def test_is_never_negative(self):
        assert load("over", 7, 3).room == 0


class TestAWorkerThatLostTheTask:
    def test_is_avoided_though_it_has_the_fewest_outstanding(self):
        chooser = Chooser([load("lost", 0), load("other", 50)])
        assert chooser.choose([["lost", "other"]], avoid={"lost"}) == "other"

    def test_is_taken_again_if_no_other_of_the_candidates_has_room(self):
        chooser = Chooser([load("lost", 0), load("other", 1, 1)])
        assert chooser.choose([["lost", "other"]], avoid={"lost"}) == "lost"

    def test_comes_before_a_less_specific_worker_even_when_the_task_may_spill(self):
        chooser = Chooser([load("lost"), load("general")])
        assert chooser.choose([["lost"], ["general"]], allowed=2, avoid={"lost"}) == "lost"

    def test_gets_the_next_task_as_if_nothing_had_been(self):
        chooser = Chooser([load("lost", 0), load("other", 5)])
        tier = ["lost", "other"]
        assert chooser.choose([tier], avoid={"lost"}) == "other"
        assert chooser.choose([tier]) == "lost"


class TestSpill:
    def test_without_spill_after_only_the_candidates_may_take_a_task(self):
        assert tiers_allowed(1e9, None) == 1

    @pytest.mark.parametrize(("waited", "tiers"), [(-5.0, 1), (0.0, 1), (29.9, 1), (30.0, 2), (60.0, 3)])
    def test_one_lower_specificity_is_added_each_time_that_spill_after_has_passed(self, waited, tiers):
        assert tiers_allowed(waited, 30.0) == tiers

    def test_a_spill_after_of_zero_allows_all_at_once(self):
        chooser = Chooser([load("a", 1, 1), load("b", 1, 1), load("c")])
        assert chooser.choose([["a"], ["b"], ["c"]], tiers_allowed(0.0, 0.0)) == "c"

    def test_the_candidates_come_first_even_then(self):
        chooser = Chooser([load("special", 9), load("general", 0)])
        assert chooser.choose([["special"], ["general"]], allowed=2) == "special"
