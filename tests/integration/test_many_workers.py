"""What a pass costs where there are many workers, many profiles, many routes: it looks at few of them."""

from __future__ import annotations

from typing import Any

import pytest
from fleet import holder_of, submit

from queueapp.domain.matching import Subscription

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def matched(monkeypatch):
    """The subscriptions that are compared with a route, one after another."""
    compared: list[Subscription] = []
    matches = Subscription.matches

    def note(self: Subscription, *route: Any) -> bool:
        compared.append(self)
        return matches(self, *route)

    monkeypatch.setattr(Subscription, "matches", note)
    return compared


class TestManyProfiles:
    def test_a_new_route_is_compared_with_those_that_come_near_it(self, fleet, matched):
        special = fleet.attach(*[f"task=t&cloud=aws&account={number}" for number in range(100)])[7]
        matched.clear()
        task = submit(attrs={"cloud": "aws", "account": "7"})[0]
        fleet.run()
        assert holder_of(task) == special
        assert len(matched) == 1

    def test_of_the_known_routes_a_new_profile_is_compared_with_those_that_it_comes_near(self, fleet, matched):
        fleet.attach("task=t")
        submit(100, attrs={"account": ...})
        fleet.run()
        matched.clear()
        (special,) = fleet.attach("task=t&account=7")
        assert len(matched) == 2  # the general one again, and the new one, with one route
        task = submit(attrs={"account": "7"})[0]
        fleet.run()
        assert holder_of(task) == special

    def test_who_has_gone_is_no_candidate_of_a_route_any_more(self, fleet):
        general, special = fleet.attach("task=t", "task=t&account=7")
        first = submit(attrs={"account": "7"})[0]
        fleet.run()
        assert holder_of(first) == special
        fleet.detach(special)
        second = submit(attrs={"account": "7"})[0]
        fleet.run()
        assert holder_of(second) == general
