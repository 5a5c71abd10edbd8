"""Rates, and the buckets that hold to them."""

from __future__ import annotations

import pytest
from django.core.exceptions import ImproperlyConfigured

from queueapp.conf import Config
from queueapp.domain.rates import Bucket, Rate


@pytest.mark.parametrize("text", ["5", "5/d", "0/s", "-1/s", "1.5/s", "/s", "5/s ", "5 / s"])
def test_a_text_that_is_no_rate_is_refused_at_the_start(text: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"WORKQUEUE_THROTTLE.*1000/s"):
        Config.from_environment({"WORKQUEUE_THROTTLE": text})


def test_none_is_set_by_default() -> None:
    assert not Config().throttle
    assert not Config.from_environment({"WORKQUEUE_THROTTLE": ""}).throttle


class TestABucket:
    def test_gives_the_whole_number_at_once_and_then_says_when_to_come_again(self) -> None:
        rate, bucket = Rate("3/m"), Bucket(3, 100.0)
        assert [bucket.take(rate, 100.0) for _ in range(4)] == [0, 0, 0, 20]
        assert bucket.take(rate, 119.0) == 1
        assert bucket.take(rate, 120.0) == 0
        assert bucket.take(rate, 120.0) == 20

    def test_holds_no_more_than_the_number_however_long_it_rests(self) -> None:
        rate, bucket = Rate("2/s"), Bucket(0, 100.0)
        assert [bucket.take(rate, 10_000.0) for _ in range(3)] == [0, 0, 1]

    def test_keeps_to_the_rate_over_time(self) -> None:
        rate, bucket = Rate("10/s"), Bucket(10, 0.0)
        taken = sum(not bucket.take(rate, n / 100) for n in range(1001))
        assert taken == pytest.approx(10 + 100, abs=1)
