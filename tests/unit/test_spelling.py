"""What is said of names that look misspelt."""

from __future__ import annotations

import pytest

from queueapp.domain.matching import Subscription
from queueapp.domain.spelling import attribute_suggestions, name_suggestion


def meant(attrs: dict[str, str], *filters: dict[str, list[str]]) -> list[tuple[str, str, str]]:
    offers = [Subscription.of("tag", each) for each in filters]
    return [(each.of, each.given, each.meant) for each in attribute_suggestions(attrs, offers)]


class TestAName:
    @pytest.mark.parametrize(
        ("name", "offered", "meant"),
        [
            ("tga", ["tag"], "tag"),
            ("colect", ["collect", "correct", "tag"], "collect"),
            ("Image.Resize", ["image.resize"], "image.resize"),
        ],
    )
    def test_that_looks_like_one_on_offer_is_taken_for_it(self, name, offered, meant):
        suggestion = name_suggestion(name, offered)
        assert suggestion is not None
        assert suggestion.meant == meant
        assert suggestion.message == f"no worker offers {name}: did you mean {meant}?"

    @pytest.mark.parametrize("name", ["checksum", "t", "gat2"])
    def test_that_looks_like_none_is_left_alone(self, name):
        assert name_suggestion(name, ["tag", "collect"]) is None


class TestAnAttribute:
    def test_that_looks_like_one_that_a_filter_asks_for_is_taken_for_it(self):
        assert meant({"acount": "1"}, {"account": ["1"]}) == [("attribute", "acount", "account")]

    def test_is_right_where_another_filter_knows_it(self):
        assert meant({"account": "1"}, {"acount": ["1"]}, {"account": ["2"]}) == [
            ("criterion", "acount", "account")
        ]

    def test_is_not_taken_for_what_stands_beside_it_in_the_same_filter(self):
        assert meant({"account1": "1"}, {"account1": ["1"], "account2": ["1"]}) == []

    def test_is_left_alone_where_nothing_is_missing(self):
        assert meant({"account": "1", "acount": "2"}, {"account": ["1"]}) == []

    def test_is_spoken_of_once_however_many_filters_ask(self):
        filters = [{"account": [str(number)]} for number in range(5)]
        assert len(meant({"acount": "1"}, *filters)) == 1
