"""How far a key reaches: names, and bounds for filters."""

from __future__ import annotations

from typing import Any

import pytest

from queueapp.domain.matching import Subscription
from queueapp.domain.reach import Reach, bounds_text, parse_bounds
from queueapp.protocol import CLOSE_REASON_BYTES, close_reason

CLOUDS = Reach.of([], {"cloud": ["aws", "gcp"]})


class TestBounds:
    @pytest.mark.parametrize(
        "filter",
        [{"cloud": ["aws"]}, {"cloud": ["gcp", "aws"]}, {"cloud": ["aws"], "account": ["1"]}],
    )
    def test_let_a_filter_narrow(self, filter: dict[str, list[str]]) -> None:
        assert CLOUDS.excess(Subscription.of("tag", filter)) is None

    @pytest.mark.parametrize(
        ("filter", "says"),
        [
            ({}, "This key allows only cloud=aws,gcp; tag has no such filter."),
            ({"account": ["1"]}, "This key allows only cloud=aws,gcp; tag has no such filter."),
            ({"cloud": ["azure"]}, "This key allows only cloud=aws,gcp; tag has azure."),
            ({"cloud": ["aws", "azure", "b"]}, "This key allows only cloud=aws,gcp; tag has azure,b."),
        ],
    )
    def test_refuse_a_filter_that_widens_and_say_what_is_allowed(
        self, filter: dict[str, list[str]], says: str
    ) -> None:
        assert CLOUDS.excess(Subscription.of("tag", filter)) == says

    def test_all_hold_at_once(self) -> None:
        reach = Reach.of(["tag"], {"cloud": ["aws"], "account": ["1"]})
        assert reach.excess(Subscription.of("tag", {"cloud": ["aws"], "account": ["1"]})) is None
        assert "account" in (reach.excess(Subscription.of("tag", {"cloud": ["aws"]})) or "")
        assert "scan" in (reach.excess(Subscription.of("scan", {"cloud": ["aws"], "account": ["1"]})) or "")

    def test_are_written_as_they_are_read(self) -> None:
        bounds = parse_bounds(["cloud=gcp, aws", " account = 1", "cloud=aws,azure"])
        assert bounds == {"account": ["1"], "cloud": ["aws", "azure", "gcp"]}
        assert bounds_text(bounds) == "account=1 cloud=aws,azure,gcp"
        assert bounds_text(None) == ""

    @pytest.mark.parametrize("text", ["cloud", "cloud=", "=aws", "", "cloud=aws,", "c=\x00", "c" * 201 + "=a"])
    def test_that_mean_nothing_are_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match=r"\w"):
            parse_bounds([text])


@pytest.mark.parametrize(
    ("globs", "bounds"),
    [("tag", None), (None, None), ([1], None), ([], ["cloud"]), ([], {"cloud": "aws"}), ([], {"c": [1]})],
)
def test_what_cannot_be_read_reaches_nothing(globs: Any, bounds: Any) -> None:
    assert not Reach.of(globs, bounds).includes("tag")
    assert Reach.of(globs, bounds).excess(Subscription.of("tag", {"cloud": ["aws"]}))


class TestTheReasonOfAClose:
    def test_is_left_as_it_is_where_it_fits(self) -> None:
        assert close_reason("x" * CLOSE_REASON_BYTES) == "x" * CLOSE_REASON_BYTES

    @pytest.mark.parametrize("text", ["x" * 124, "ä" * 62, "\ud800" * 124, "x" + "😀" * 31], ids=ascii)
    def test_is_cut_between_characters_where_a_frame_has_no_room_for_it(self, text: str) -> None:
        cut = close_reason(text)
        assert len(cut.encode()) <= CLOSE_REASON_BYTES
        assert cut.endswith("…")
