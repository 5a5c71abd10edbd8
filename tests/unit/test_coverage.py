"""The table of names and values against workers, and what is missing or misspelt in it."""

from __future__ import annotations

from typing import Any

import reference
from fleets import fleets, tasks
from hypothesis import given
from hypothesis import strategies as st
from test_supply import TAG, demand, online, worker

from queueapp.domain.coverage import criteria_suggestions, missing_values, rows_of, suggestions, table_of
from queueapp.domain.matching import Subscription
from queueapp.domain.supply import Demand, Supply, cover


def rows(demands: list[Demand], *workers: Any) -> Any:
    supply = Supply(workers)
    return {row.name: row for row in rows_of(cover(demands, supply), supply)}


def takes(worker: dict[str, Any], name: str, criterion: str, value: str) -> bool:
    """As far as this criterion is concerned."""
    own = [each["filter"] for each in worker["subscriptions"] if each["name"] == name]
    return any(value in filter.get(criterion, [value]) for filter in own)


class TestARow:
    @given(fleets(), st.lists(tasks, max_size=8))
    def test_counts_its_tasks_and_those_that_no_worker_matches(self, fleet, wanted):
        supply = Supply(online(fleet))
        for row in rows_of(cover([demand(task, 3) for task in wanted], supply), supply):
            own = [task for task in wanted if task["name"] == row.name]
            assert row.waiting == 3 * len(own)
            assert row.stranded == 3 * sum(not reference.levels_of(fleet, task) for task in own)
            offering = [w for w in fleet if any(each["name"] == row.name for each in w["subscriptions"])]
            assert row.workers == len(offering)

    @given(fleets(), st.lists(tasks, max_size=8))
    def test_has_a_cell_for_each_value_that_is_asked_for(self, fleet, wanted):
        supply = Supply(online(fleet))
        for row in rows_of(cover(map(demand, wanted), supply), supply):
            filters = [s["filter"] for w in fleet for s in w["subscriptions"] if s["name"] == row.name]
            own = [task["attrs"] for task in wanted if task["name"] == row.name]
            asked = {criterion for filter in filters for criterion in filter}
            pairs = {(c, value) for filter in filters for c, values in filter.items() for value in values}
            assert row.cells.keys() == pairs | {
                pair for attrs in own for pair in attrs.items() if pair[0] in asked
            }
            for (criterion, value), cell in row.cells.items():
                assert cell.waiting == sum(attrs.get(criterion) == value for attrs in own)
                assert cell.workers == sum(takes(each, row.name, criterion, value) for each in fleet)

    def test_is_there_for_a_name_that_nobody_offers_and_for_one_that_nobody_wants(self):
        found = rows([Demand("collect", {"cloud": "aws"}, 2)], worker(1, TAG))
        assert (found["collect"].health, found["collect"].cells) == ("no-worker", {})
        assert found["tag"].health == "idle"

    def test_says_that_more_may_wait(self):
        assert not rows([Demand("tag", {}, 2, is_exact=False)])["tag"].is_exact


class TestTheTable:
    def test_begins_with_what_is_wrong(self):
        offers = [Subscription.of("tag", {"cloud": ["aws"]}), Subscription.of("collect", {"cloud": ["aws"]})]
        supply = Supply([worker(1, *offers)])
        demands = [Demand("tag", {"cloud": "aws"}, 100), Demand("collect", {"cloud": "azure"}, 1)]
        table = table_of(rows_of(cover(demands, supply), supply), 10, 10)
        assert [row.name for row in table.rows] == ["collect", "tag"]
        assert table.columns == [("cloud", "azure"), ("cloud", "aws")]

    def test_keeps_the_values_of_a_criterion_together(self):
        filters = {"cloud": ["aws", "gcp"], "zone": ["a"]}
        supply = Supply([worker(1, Subscription.of("tag", filters))])
        demands = [
            Demand("tag", {"cloud": "aws"}, 3),
            Demand("tag", {"zone": "a"}, 2),
            Demand("tag", {"cloud": "gcp"}, 1),
        ]
        table = table_of(rows_of(cover(demands, supply), supply), 10, 10)
        assert table.columns == [("cloud", "aws"), ("cloud", "gcp"), ("zone", "a")]
        assert table.criteria() == [("cloud", 2), ("zone", 1)]

    def test_says_how_much_is_left_out(self):
        supply = Supply([worker(1, *(Subscription.of(name, {"n": list("123")}) for name in "abcd"))])
        table = table_of(rows_of([], supply), 3, 2)
        assert (len(table.rows), table.rows_left_out, len(table.columns), table.columns_left_out) == (3, 1, 2, 1)


class TestAMissingValue:
    def test_is_one_that_tasks_wait_with_and_every_filter_refuses(self):
        offers = [Subscription.of("tag", {"cloud": [cloud]}) for cloud in ("aws", "gcp")]
        demands = [Demand("tag", {"cloud": "azure"}, 212), Demand("tag", {"cloud": "aws"}, 5)]
        (missing,) = missing_values(rows(demands, *(worker(n, offer) for n, offer in enumerate(offers))).values())
        assert (missing.name, missing.criterion, missing.value, missing.waiting) == ("tag", "cloud", "azure", 212)

    def test_is_none_that_a_filter_does_not_ask_for(self):
        offers = [Subscription.of("tag", {"cloud": ["aws"]}), TAG]
        demands = [Demand("tag", {"cloud": "azure"}, 212)]
        assert missing_values(rows(demands, *(worker(n, offer) for n, offer in enumerate(offers))).values()) == []


class TestSpelling:
    def test_of_a_queue_that_nobody_offers_is_compared_with_what_is_offered(self):
        (found,) = suggestions(["tga"], [], [], Supply([worker(1, TAG)]))
        assert found.message == "no worker offers tga: did you mean tag?"

    def test_of_a_worker_is_compared_with_what_there_are_tasks_of(self):
        (found,) = suggestions([], ["colect"], ["collect", "tag"], Supply([]))
        assert found.message == "there is no task colect: did its workers mean collect?"

    def test_of_a_criterion_is_compared_with_the_attributes_of_who_waits(self):
        supply = Supply([worker(1, Subscription.of("tag", {"acount": ["1"]}))])
        (found,) = criteria_suggestions(cover([Demand("tag", {"account": "1"}, 1)], supply), supply)
        assert (found.given, found.meant) == ("account", "acount")

    def test_is_looked_at_for_a_few_only(self):
        names = [f"queue-{number}" for number in range(1000)]
        supply = Supply([worker(1, *(Subscription.of(f"queues-{number}") for number in range(1000)))])
        assert len(suggestions(names, names, [f"queue_{n}" for n in range(1000)], supply)) == 20
