"""Which routes a new worker's subscriptions are given to look at: the database's answer is the matcher's."""

from __future__ import annotations

import pytest
from fleet import submit
from hypothesis import given
from hypothesis import strategies as st

from queueapp import database
from queueapp.domain.matching import Subscription
from queueapp.models import Route
from queueapp.ready import ready_routes_for

pytestmark = pytest.mark.django_db

NAMES = ("tag", "scan")
ATTRS = (
    {},
    {"cloud": "aws"},
    {"cloud": "gcp", "zone": "a"},
    {"cloud": "aws", "zone": "b"},
    {"0": "x"},
    {"it's": 'a "quoted" one', "zone": "a"},
    {"cloud": "100%"},
)

filters = st.dictionaries(
    st.sampled_from(["cloud", "zone", "0", "it's", "none"]),
    st.lists(st.sampled_from(["aws", "gcp", "a", "b", "x", 'a "quoted" one', "100%"]), min_size=1, max_size=3),
    max_size=2,
)
subscriptions = st.sets(st.builds(Subscription.of, st.sampled_from(NAMES), filters), max_size=4)


@pytest.fixture
def stored():
    for name in NAMES:
        for attrs in ATTRS:
            submit(name=name, attrs=attrs)
    return list(Route.objects.values_list("id", "name", "attrs"))


def test_they_are_those_that_match(stored):
    @given(subscriptions)
    def check(offered: set[Subscription]) -> None:
        right = {id for id, name, attrs in stored if any(s.matches(name, attrs) for s in offered)}
        assert {database.as_uuid(id) for id, _, _ in ready_routes_for(offered)} == right

    check()


def test_those_without_ready_tasks_are_left_out(stored):
    submit(name="later", delay=60)
    assert list(ready_routes_for({Subscription.of("later")})) == []


def test_more_subscriptions_than_go_into_a_statement_are_looked_for_in_parts(stored, monkeypatch):
    monkeypatch.setattr("queueapp.ready.SUBSCRIPTIONS_A_STATEMENT", 1)
    offered = {Subscription.of("tag", {"cloud": ["aws"]}), Subscription.of("scan", {"zone": ["a"]})}
    assert len(list(ready_routes_for(offered))) == 4
