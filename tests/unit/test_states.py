"""The edges of a task's life: the contract, section 3."""

from __future__ import annotations

import pytest

from queueapp.domain.states import (
    COUNTED_OUTCOMES,
    EDGES,
    LIVE_STATES,
    RETRYABLE_OUTCOMES,
    TERMINAL_STATES,
    Outcome,
    TaskState,
)


def test_every_state_is_either_live_or_terminal():
    assert sorted([*LIVE_STATES, *TERMINAL_STATES]) == sorted(TaskState)


def test_every_state_says_where_it_leads():
    assert set(EDGES) == set(TaskState)


@pytest.mark.parametrize(
    ("state", "targets"),
    [
        ("pending", {"assigned", "cancelled", "expired"}),
        ("assigned", {"succeeded", "failed", "pending", "cancelled"}),
        ("succeeded", {"pending"}),
        ("failed", {"pending"}),
        ("cancelled", {"pending"}),
        ("expired", {"pending"}),
    ],
)
def test_a_state_leads_only_where_the_contract_says(state, targets):
    assert {str(target) for target in EDGES[TaskState(state)]} == targets


@pytest.mark.parametrize("state", TERMINAL_STATES)
def test_a_terminal_state_changes_by_an_explicit_retry_alone(state):
    assert EDGES[state] == {TaskState.PENDING: "explicit retry"}


def test_released_and_cancelled_cost_nothing_and_the_others_use_up_an_attempt():
    assert set(Outcome) - COUNTED_OUTCOMES == {Outcome.RELEASED, Outcome.CANCELLED}


def test_retry_on_may_name_what_ends_badly_and_is_counted():
    assert sorted(RETRYABLE_OUTCOMES) == sorted(COUNTED_OUTCOMES - {"done"})
