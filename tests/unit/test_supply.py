"""What waits against who may take it: coverage, shadows and losses, beside the contract read word for word."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import reference
from fleets import fleets, profile_of, tasks
from hypothesis import given
from hypothesis import strategies as st

from queueapp.domain.matching import Subscription
from queueapp.domain.supply import Demand, Supply, cover, losses, shadows
from queueapp.domain.verdicts import Worker

NOBODY: list[dict[str, Any]] = []


def worker(number: int, *offers: Subscription, **fields: Any) -> Worker:
    values = {"is_draining": False, "outstanding": 0, "max_outstanding": 10, **fields}
    return Worker(UUID(int=number), f"w{number}", offers=frozenset(offers), **values)


def online(fleet: list[dict[str, Any]]) -> list[Worker]:
    """The workers of a fleet as the reference has it, in the words of the domain."""
    return [
        Worker(
            UUID(int=number),
            each["id"],
            False,
            each["outstanding"],
            each["max_outstanding"],
            profile_of(each),
        )
        for number, each in enumerate(fleet)
    ]


def demand(task: dict[str, Any], waiting: int = 1) -> Demand:
    return Demand(task["name"], task["attrs"], waiting)


TAG_AWS = Subscription.of("tag", {"cloud": ["aws"]})
TAG_AWS_1 = Subscription.of("tag", {"cloud": ["aws"], "account": ["1"]})
TAG = Subscription.of("tag")


class TestCoverage:
    @given(fleets(), st.lists(tasks, max_size=8))
    def test_counts_the_workers_that_the_contract_says(self, fleet, wanted):
        for covered, task in zip(cover(map(demand, wanted), Supply(online(fleet))), wanted, strict=True):
            levels = reference.levels_of(fleet, task)
            first = levels[0] if levels else []
            match = covered.match
            assert match.workers == sum(map(len, levels))
            assert match.candidates == len(first)
            assert match.room == sum(max(0, w["max_outstanding"] - w["outstanding"]) for w in first)
            assert match.specificity == (reference.specificity_of(first[0], task) if first else None)

    def test_leaves_out_who_drains(self):
        (covered,) = cover([Demand("tag", {})], Supply([worker(1, TAG, is_draining=True)]))
        assert covered.has_no_worker

    def test_counts_no_room_of_who_holds_more_than_it_may(self):
        (covered,) = cover([Demand("tag", {})], Supply([worker(1, TAG, outstanding=12), worker(2, TAG)]))
        assert covered.match.room == 10

    def test_says_of_what_there_was_no_time_for_that_it_is_not_known(self):
        demands = [Demand("tag", {"cloud": "aws", "account": str(number)}) for number in range(3)]
        offers = [Subscription.of("tag", {"account": [str(number)]}) for number in range(3)]
        supply = Supply([worker(number, offer) for number, offer in enumerate(offers)], tries=2)
        assert [covered.match is None for covered in cover(demands, supply)] == [False, False, True]
        assert supply.is_exhausted

    def test_matches_once_what_differs_only_in_what_no_filter_asks_for(self):
        supply = Supply([worker(1, TAG_AWS)], tries=1)
        demands = [Demand("tag", {"cloud": "aws", "node": str(number)}) for number in range(100)]
        assert all(covered.match.workers == 1 for covered in cover(demands, supply))


class TestAShadow:
    @given(fleets(), st.lists(tasks, max_size=8))
    def test_falls_on_who_matches_and_is_never_a_candidate(self, fleet, known):
        found = {shadow.worker.label for shadow in shadows(map(demand, known), Supply(online(fleet)))}
        levels = [reference.levels_of(fleet, task) for task in known]
        matching = {w["id"] for each in levels for level in each for w in level}
        candidates = {w["id"] for each in levels for w in (each[0] if each else NOBODY)}
        assert found == matching - candidates

    @given(fleets(), st.lists(tasks, max_size=8))
    def test_names_a_route_and_a_worker_that_is_more_specific_for_it(self, fleet, known):
        by_id = {each["id"]: each for each in fleet}
        for shadow in shadows(map(demand, known), Supply(online(fleet))):
            task = {"name": shadow.example.name, "attrs": shadow.example.attrs}
            own, other = (reference.specificity_of(by_id[w.label], task) for w in (shadow.worker, shadow.by))
            assert own is not None
            assert other > own

    def test_is_lifted_by_one_route_that_nobody_else_serves_better(self):
        supply = Supply([worker(1, TAG_AWS), worker(2, TAG_AWS_1)])
        routes = [Demand("tag", {"cloud": "aws", "account": "1"})]
        assert [shadow.worker.label for shadow in shadows(routes, supply)] == ["w1"]
        assert shadows([*routes, Demand("tag", {"cloud": "aws", "account": "2"})], supply) == []

    def test_is_claimed_of_nobody_where_not_all_routes_were_looked_at(self):
        routes = [Demand("tag", {"cloud": "aws", "account": account}) for account in "12"]
        supply = Supply([worker(1, TAG_AWS), worker(2, TAG_AWS_1)], tries=2)
        assert shadows(routes, supply) == []


class TestLosses:
    @given(fleets(), st.lists(tasks, max_size=8), st.sets(st.integers(0, 5)))
    def test_are_the_difference_between_the_fleet_with_and_without_them(self, fleet, wanted, numbers):
        workers = online(fleet)
        leaving = {each.id for each in workers if each.id.int in numbers}
        lost = losses(map(demand, wanted), Supply(workers), leaving)
        staying = [each for number, each in enumerate(fleet) if number not in numbers]
        expected = []
        for task in wanted:
            before = sum(map(len, reference.levels_of(fleet, task)))
            levels = reference.levels_of(staying, task)
            after = sum(map(len, levels))
            if after < before:
                expected.append(
                    (task["name"], sorted(task["attrs"].items()), before, after, len(levels[0]) if levels else 0)
                )
        found = [
            (loss.demand.name, sorted(loss.demand.attrs.items()), loss.before, loss.after, loss.candidates_after)
            for loss in [*lost.stranded, *lost.thinned]
        ]
        assert sorted(found) == sorted(expected)
        assert all(loss.after == 0 for loss in lost.stranded)
        assert all(loss.after > 0 for loss in lost.thinned)

    @given(fleets(), st.sets(st.integers(0, 5)))
    def test_name_what_nobody_else_offers(self, fleet, numbers):
        workers = online(fleet)
        lost = losses([], Supply(workers), {each.id for each in workers if each.id.int in numbers})
        names = [{s["name"] for s in each["subscriptions"]} for each in fleet]
        gone = [each for number, each in enumerate(names) if number in numbers]
        stay = [each for number, each in enumerate(names) if number not in numbers]
        assert lost.unoffered == sorted(set().union(*gone) - set().union(*stay))

    def test_of_several_workers_are_those_of_all_of_them_together(self):
        supply = Supply([worker(1, TAG), worker(2, TAG)])
        demands = [Demand("tag", {}, 14)]
        assert losses(demands, supply, {UUID(int=1)}).stranded_tasks == 0
        assert losses(demands, supply, {UUID(int=1), UUID(int=2)}).stranded_tasks == 14

    def test_put_the_fewest_left_and_the_most_that_waits_first(self):
        offers = [TAG, TAG, Subscription.of("collect"), Subscription.of("collect"), Subscription.of("scan")]
        supply = Supply([worker(number, offer) for number, offer in enumerate(offers)])
        demands = [Demand("tag", {}, 1), Demand("collect", {}, 5), Demand("scan", {}, 1)]
        lost = losses(demands, supply, {UUID(int=number) for number in (0, 2, 4)})
        assert [loss.demand.name for loss in [*lost.stranded, *lost.thinned]] == ["scan", "collect", "tag"]

    def test_of_who_drains_are_none(self):
        supply = Supply([worker(1, TAG, is_draining=True)])
        assert losses([Demand("tag", {}, 14)], supply, {UUID(int=1)}).stranded == []
