"""Seeded schedules by the thousand: whatever dies, is lost or comes late, nothing is lost and nothing doubled.

SIMULATION_SCHEDULES of them are run, from SIMULATION_FIRST on, and SIMULATION_SMALL small ones, again and again,
in each of which one process dies at one of its points: at all of them in turn. `make simulation` runs many more.
SIMULATION_ONLY repeats the one schedule of that name.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation import schedules
from tests.simulation.database import Database
from tests.simulation.world import Outcome

CHUNKS = 16
SCHEDULES = int(os.environ.get("SIMULATION_SCHEDULES", "600"))
FIRST = int(os.environ.get("SIMULATION_FIRST", "0"))
SMALL = int(os.environ.get("SIMULATION_SMALL", "2"))
ONLY = os.environ.get("SIMULATION_ONLY")
SHOWN_LINES = 400

unless_one_is_asked_for = pytest.mark.skipif(ONLY is not None, reason="one schedule is asked for")


if ONLY is not None:

    def test_the_schedule_that_is_asked_for(database: Database, token: str):
        accept(ONLY, database, token)


@unless_one_is_asked_for
@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_whatever_fails_every_task_ends_once_and_everybody_agrees_on_it(chunk, database: Database, token: str):
    for seed in range(FIRST + chunk, FIRST + SCHEDULES, CHUNKS):
        accept(str(seed), database, token)


@unless_one_is_asked_for
@pytest.mark.parametrize("small", range(SMALL))
@pytest.mark.parametrize("victim", schedules.VICTIMS)
def test_a_process_may_die_at_every_await_and_around_every_transaction(
    small, victim, database: Database, token: str
):
    """First without a death, to count the points; then once for each of them."""
    points = accept(f"small-{small}", database, token).points[victim]
    assert points > 5
    for point in range(1, points + 1):
        accept(f"small-{small}:{victim}:{point}", database, token)


@unless_one_is_asked_for
class TestTheSimulation:
    @pytest.mark.parametrize("seed", range(4))
    def test_does_the_same_for_the_same_seed(self, seed, database: Database, token: str):
        first, second = (accept(str(seed), database, token) for _ in range(2))
        assert first.trace
        assert (first.trace, first.points) == (second.trace, second.points)

    def test_does_something_else_for_another_seed(self, database: Database, token: str):
        first, second = (accept(seed, database, token) for seed in "12")
        assert first.trace != second.trace

    @pytest.mark.parametrize("name", ["3", "small-0:s0.1:50"])
    def test_does_the_same_in_another_process_where_strings_have_other_hashes(
        self, name, database: Database, token: str
    ):
        here = accept(name, database, token)
        there = subprocess.run(
            [sys.executable, "-m", "tests.simulation", name],
            cwd=Path(__file__).resolve().parents[2],
            env={**os.environ, "PYTHONHASHSEED": "7", "SECRET_KEY": "simulated"},
            capture_output=True,
            text=True,
            check=True,
        )
        assert there.stdout.splitlines() == here.trace


def accept(name: str, database: Database, token: str) -> Outcome:
    outcome = schedules.run(name, database, token)
    if outcome.wrongs:
        again = f"Once more: SIMULATION_ONLY={name} make simulation"
        pytest.fail("\n".join(["", *outcome.trace[-SHOWN_LINES:], "", *outcome.wrongs, "", again]), pytrace=False)
    return outcome
