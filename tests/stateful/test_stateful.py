"""Everything at once: workers, producers, operators, time and dying processes, in any order.

STATEFUL_EXAMPLES says how many lives of a queue are tried, STATEFUL_STEPS how long each is (`make stateful`).
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from queueapp import database
from queueapp.models import fields
from stateful.operators import Operators
from stateful.producers import Producers
from stateful.workers import Workers

EXAMPLES = int(os.environ.get("STATEFUL_EXAMPLES", "40"))
STEPS = int(os.environ.get("STATEFUL_STEPS", "40"))


class WholeQueue(Workers, Producers, Operators):
    """All the rules."""


@pytest.mark.django_db(transaction=True)
def test_whatever_happens_the_rows_say_what_the_contract_says(monkeypatch):
    # The two seams: whoever needs the time or an id has it from here.
    monkeypatch.setattr(database, "now", WholeQueue.clock.now)
    monkeypatch.setattr(database, "told_time", lambda told: WholeQueue.clock.now())
    monkeypatch.setattr(fields, "uuid7", WholeQueue.clock.new_id)
    run_state_machine_as_test(
        WholeQueue,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            # To look for a second failure behind the first takes longer than to run again without the first.
            report_multiple_bugs=False,
            # Each step is some statements to a database, and most rules draw from what there is by then: slow
            # is no failure here. Whether examples are drawn at random is the profile's to say (`conftest.py`).
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
        ),
    )
