"""Which workers match a task, and how specifically: the contract, section 2, rules 1 and 2."""

from __future__ import annotations

import reference
from fleets import fleets, profile_of, subscriptions, tasks
from hypothesis import given

from queueapp.domain.matching import ProfileIndex, Subscription, best_specificity, tiers_of_profiles


class TestASubscription:
    def test_without_criteria_matches_every_task_of_its_name(self):
        assert Subscription.of("tag").matches("tag", {"cloud": "aws"})
        assert Subscription.of("tag").matches("tag", {})

    def test_matches_no_task_of_another_name(self):
        assert not Subscription.of("tag").matches("collect", {})

    def test_matches_each_of_its_accepted_values(self):
        subscription = Subscription.of("tag", {"cloud": ["aws", "gcp"]})
        assert [cloud for cloud in ("aws", "gcp", "azure") if subscription.matches("tag", {"cloud": cloud})] == [
            "aws",
            "gcp",
        ]

    def test_matches_a_task_that_has_more_attributes(self):
        assert Subscription.of("tag", {"cloud": ["aws"]}).matches("tag", {"cloud": "aws", "account": "1"})

    def test_does_not_match_a_task_that_lacks_a_criterion(self):
        assert not Subscription.of("tag", {"cloud": ["aws"]}).matches("tag", {"account": "1"})

    def test_does_not_match_unless_every_criterion_does(self):
        subscription = Subscription.of("tag", {"cloud": ["aws"], "account": ["1"]})
        assert not subscription.matches("tag", {"cloud": "aws", "account": "2"})

    def test_is_as_specific_as_it_has_criteria_however_many_values_they_accept(self):
        assert Subscription.of("tag", {"cloud": ["aws", "gcp", "azure"]}).specificity == 1
        assert Subscription.of("tag", {"cloud": ["aws"], "account": ["1"]}).specificity == 2

    def test_equals_another_whose_criteria_and_values_were_given_in_another_order(self):
        first = Subscription.of("tag", {"cloud": ["aws", "gcp"], "account": ["1"]})
        second = Subscription.of("tag", {"account": ["1"], "cloud": ["gcp", "aws", "gcp"]})
        assert first == second
        assert hash(first) == hash(second)

    @given(subscriptions, tasks)
    def test_matches_what_the_contract_says(self, subscription, task):
        ours = Subscription.of(subscription["name"], subscription["filter"])
        assert ours.matches(task["name"], task["attrs"]) == reference.matches(subscription, task)

    @given(subscriptions, tasks)
    def test_misses_something_of_a_task_of_its_name_exactly_where_it_does_not_match(self, subscription, task):
        ours = Subscription.of(subscription["name"], subscription["filter"])
        of_its_name = {**task, "name": ours.name}
        assert bool(ours.misses(task["attrs"])) != reference.matches(subscription, of_its_name)


class TestAMiss:
    def test_names_the_attribute_that_the_task_lacks(self):
        (miss,) = Subscription.of("tag", {"cloud": ["aws"]}).misses({"account": "1"})
        assert str(miss) == "cloud: task says nothing, worker accepts aws"

    def test_names_the_criterion_that_failed_with_both_sides(self):
        (miss,) = Subscription.of("tag", {"cloud": ["gcp", "aws"]}).misses({"cloud": "azure"})
        assert str(miss) == "cloud: task says azure, worker accepts aws, gcp"

    def test_counts_the_rest_of_a_long_list_of_values(self):
        (miss,) = Subscription.of("tag", {"account": map(str, range(100, 200))}).misses({"account": "7"})
        assert str(miss) == "account: task says 7, worker accepts 100, 101, 102, 103, 104 and 95 more"

    def test_is_there_for_each_criterion_that_failed(self):
        missed = Subscription.of("tag", {"cloud": ["aws"], "account": ["1"], "zone": ["a"]}).misses({"zone": "a"})
        assert [miss.criterion for miss in missed] == ["account", "cloud"]


class TestAWorker:
    @given(fleets(), tasks)
    def test_counts_with_its_most_specific_matching_subscription(self, fleet, task):
        for worker in fleet:
            ours = best_specificity(profile_of(worker), task["name"], task["attrs"])
            assert ours == reference.specificity_of(worker, task)


class TestTheTiers:
    @given(fleets(), tasks)
    def test_are_the_matching_workers_by_specificity_the_highest_first(self, fleet, task):
        profiles = [profile_of(worker) for worker in fleet]
        tiers = tiers_of_profiles(profiles, task["name"], task["attrs"])
        ours = [{w["id"] for w in fleet if profile_of(w) in tier} for tier in tiers]
        assert ours == [{worker["id"] for worker in level} for level in reference.levels_of(fleet, task)]

    def test_seed_example_worker2_is_the_only_candidate_for_its_account(self):
        worker1 = frozenset({Subscription.of("tag", {"cloud": ["aws", "gcp"]})})
        worker2 = frozenset({Subscription.of("tag", {"cloud": ["aws"], "account": ["123"]})})
        tiers = tiers_of_profiles([worker1, worker2], "tag", {"cloud": "aws", "account": "123"})
        assert tiers == (frozenset({worker2}), frozenset({worker1}))


class TestTheIndex:
    @given(fleets(), tasks)
    def test_leaves_out_none_that_matches(self, fleet, task):
        profiles = [profile_of(worker) for worker in fleet]
        near = ProfileIndex(profiles).near(task["name"], task["attrs"])
        found = tiers_of_profiles(near, task["name"], task["attrs"])
        assert found == tiers_of_profiles(profiles, task["name"], task["attrs"])

    def test_looks_at_few_others_where_one_criterion_tells_them_apart(self):
        filters = [{"cloud": ["aws"], "account": [str(number)]} for number in range(100)]
        index = ProfileIndex([frozenset({Subscription.of("tag", each)}) for each in filters])
        assert len(index.near("tag", {"cloud": "aws", "account": "7"})) == 1
