"""What happens to a task when an attempt has ended: the contract, section 3."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queueapp.domain.retries import Again, Backoff, Final, RetryPolicy, after_attempt
from queueapp.domain.states import RETRYABLE_OUTCOMES, Outcome

BACKOFF = Backoff(initial=1.0, factor=2.0, max=600.0)


def policy(max_attempts: int = 4, retry_on: tuple[str, ...] = ("lost", "timeout")) -> RetryPolicy:
    return RetryPolicy(max_attempts, retry_on, BACKOFF)


class TestALostOrTimedOutAttempt:
    @pytest.mark.parametrize("outcome", [Outcome.LOST, Outcome.TIMEOUT])
    def test_is_followed_by_another_at_once(self, outcome):
        assert after_attempt(outcome, 0, policy()) == Again(delay_seconds=0.0, attempts_used=1)

    @pytest.mark.parametrize("outcome", [Outcome.LOST, Outcome.TIMEOUT])
    def test_is_final_with_its_outcome_when_it_was_the_last(self, outcome):
        assert after_attempt(outcome, 3, policy(4)) == Final(outcome, attempts_used=4)

    @pytest.mark.parametrize("outcome", [Outcome.LOST, Outcome.TIMEOUT])
    def test_is_final_where_retry_on_does_not_name_it(self, outcome):
        assert after_attempt(outcome, 0, policy(retry_on=("error",))) == Final(outcome, attempts_used=1)


class TestAnError:
    def test_is_final_unless_retry_on_names_it(self):
        assert after_attempt(Outcome.ERROR, 0, policy()) == Final(Outcome.ERROR, attempts_used=1)

    def test_is_retried_after_the_backoff_where_retry_on_names_it(self):
        decision = after_attempt(Outcome.ERROR, 2, policy(retry_on=("error",)), jitter=1.0)
        assert decision == Again(delay_seconds=4.0, attempts_used=3)

    def test_is_retried_where_the_worker_says_so_against_retry_on(self):
        assert after_attempt(Outcome.ERROR, 0, policy(), retry=True) == Again(1.0, attempts_used=1)

    def test_is_final_where_the_worker_says_so_against_retry_on(self):
        decision = after_attempt(Outcome.ERROR, 0, policy(retry_on=("error",)), retry=False)
        assert decision == Final(Outcome.ERROR, attempts_used=1)

    def test_is_final_when_attempts_are_used_up_whatever_the_worker_says(self):
        assert after_attempt(Outcome.ERROR, 3, policy(4), retry=True) == Final(Outcome.ERROR, attempts_used=4)


class TestAReleasedAttempt:
    def test_costs_nothing_and_is_followed_by_another_at_once(self):
        assert after_attempt(Outcome.RELEASED, 2, policy()) == Again(0.0, attempts_used=2)

    def test_is_followed_by_another_even_if_it_would_have_been_the_last(self):
        assert after_attempt(Outcome.RELEASED, 0, policy(1)) == Again(0.0, attempts_used=0)


@pytest.mark.parametrize("outcome", [Outcome.DONE, Outcome.CANCELLED])
def test_an_attempt_that_ended_otherwise_is_no_question_of_retrying(outcome):
    with pytest.raises(ValueError, match=str(outcome)):
        after_attempt(outcome, 0, policy())


@given(
    st.lists(st.sampled_from(sorted(RETRYABLE_OUTCOMES | {Outcome.RELEASED})), max_size=30),
    st.integers(1, 5),
    st.sets(st.sampled_from([str(outcome) for outcome in RETRYABLE_OUTCOMES])),
    st.sampled_from([None, True, False]),
)
def test_no_history_has_more_counted_attempts_than_max_attempts(outcomes, max_attempts, retry_on, retry):
    used = counted = 0
    for outcome in outcomes:
        counted += outcome is not Outcome.RELEASED
        decision = after_attempt(outcome, used, policy(max_attempts, tuple(retry_on)), retry=retry)
        used = decision.attempts_used
        assert used == counted <= max_attempts
        if isinstance(decision, Final):
            assert decision.reason is outcome
            return
    assert counted < max_attempts


class TestTheBackoff:
    @pytest.mark.parametrize(("failures", "seconds"), [(1, 1.0), (2, 2.0), (3, 4.0), (10, 512.0), (11, 600.0)])
    def test_grows_by_its_factor_up_to_its_maximum(self, failures, seconds):
        assert BACKOFF.delay_seconds(failures, jitter=1.0) == seconds

    def test_is_jittered_down_to_half_of_the_nominal_delay(self):
        assert BACKOFF.delay_seconds(4, jitter=0.0) == 4.0
        assert BACKOFF.delay_seconds(4, jitter=0.5) == 6.0

    def test_of_a_thousand_failures_is_its_maximum(self):
        assert Backoff(1.0, 100.0, 600.0).delay_seconds(1000, jitter=1.0) == 600.0

    def test_of_nothing_at_first_stays_nothing(self):
        assert Backoff(0.0, 100.0, 600.0).delay_seconds(1000, jitter=1.0) == 0.0

    @given(
        st.floats(0, 1e6),
        st.floats(1, 100),
        st.floats(0, 1e7),
        st.integers(1, 1000),
        st.floats(0, 1),
    )
    def test_lies_in_the_upper_half_of_what_exact_arithmetic_says(
        self, initial, factor, maximum, failures, jitter
    ):
        nominal = min(Fraction(maximum), Fraction(initial) * Fraction(factor) ** (failures - 1))
        delay = Backoff(initial, factor, maximum).delay_seconds(failures, jitter)
        slack = 1 + 1e-9
        assert float(nominal) / 2 / slack <= delay <= float(nominal) * slack + 1e-300
