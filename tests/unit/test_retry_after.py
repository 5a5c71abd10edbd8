"""A worker says how long to wait before its task is tried again."""

from __future__ import annotations

import json

import pytest

from queueapp.domain.retries import Again, Backoff, Final, RetryPolicy, after_attempt
from queueapp.domain.states import Outcome
from queueapp.protocol import Result, Unusable
from queueapp.worker_frames import parse_frame

POLICY = RetryPolicy(4, ("lost", "timeout"), Backoff(initial=1, factor=2, max=60))


def parsed(**members: object) -> object:
    [message] = parse_frame(json.dumps({"task_id": "t", "result": "error", "error": "quota", **members}))
    return message


def test_the_seconds_take_the_place_of_the_backoff():
    decision = after_attempt(Outcome.ERROR, 2, POLICY, retry=True, retry_after=90.0)
    assert decision == Again(delay_seconds=90.0, attempts_used=3)


def test_none_are_none():
    assert after_attempt(Outcome.ERROR, 2, POLICY, retry=True, retry_after=0.0) == Again(0.0, attempts_used=3)


def test_they_are_no_reason_to_try_again():
    assert after_attempt(Outcome.ERROR, 0, POLICY, retry_after=90.0) == Final(Outcome.ERROR, attempts_used=1)


def test_an_error_carries_them():
    expected = Result("t", False, error="quota", retry=True, retry_after=90.0)
    assert parsed(retry=True, retry_after=90) == expected


@pytest.mark.parametrize("seconds", [-1, 86_401, "soon"])
def test_what_is_no_time_is_refused(seconds: object):
    assert isinstance(parsed(retry=True, retry_after=seconds), Unusable)
