"""Times counted in steps: what percentiles may be read from them."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queueapp.domain.spreads import STEPS, as_json, from_json, quantile, step_of, upper_seconds

SECONDS = st.floats(min_value=0, max_value=10**6)


@given(SECONDS)
def test_a_time_is_within_its_step(seconds):
    step = step_of(seconds)
    assert seconds <= upper_seconds(step) * 1.000001
    assert step == 0 or seconds > upper_seconds(step - 1) * 0.999999


def test_what_took_longer_than_all_steps_is_in_the_last():
    assert step_of(10**12) == STEPS


def test_a_clock_that_went_back_is_no_time():
    assert step_of(-1.0) == 0


@given(st.lists(SECONDS, min_size=1), st.sampled_from([0.5, 0.95]))
def test_a_quantile_is_at_most_a_step_from_the_true_one(times, share):
    times.sort()
    true = times[max(0, -(-int(share * 100) * len(times) // 100) - 1)]
    found = quantile(Counter(map(step_of, times)), share)
    assert upper_seconds(step_of(true) - 1) * 0.999 <= max(found, 0.001) <= upper_seconds(step_of(true)) * 1.001


def test_nothing_has_no_quantile():
    assert quantile({}, 0.5) is None


@given(st.dictionaries(st.integers(0, STEPS), st.integers(1, 1000)))
def test_what_is_stored_is_what_was_counted(counts):
    assert from_json(as_json(counts)) == Counter(counts)


@pytest.mark.parametrize(("share", "expected"), [(0.5, 0.0015), (0.95, 0.0015)])
def test_the_steps_are_wide_but_even_inside(share, expected):
    assert quantile(Counter({2: 100}), share) == pytest.approx(expected, rel=0.35)
