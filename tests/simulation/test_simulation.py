"""Seeded schedules by the hundred: whatever dies, is lost or comes late, nothing is lost and nothing doubled.

`make simulation` runs as many as one likes: SIMULATION_SCHEDULES of them, from SIMULATION_FIRST on.
SIMULATION_SEED repeats one.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.database import Database
from tests.simulation.plan import LONG, Plan
from tests.simulation.world import Outcome, World

CHUNKS = 8
SCHEDULES = int(os.environ.get("SIMULATION_SCHEDULES", "240"))
FIRST = int(os.environ.get("SIMULATION_FIRST", "0"))
ONLY = os.environ.get("SIMULATION_SEED")
SHOWN_LINES = 400

SMALL = Plan(
    servers=2,
    workers=2,
    tasks=(
        (0.0, {"name": "tag", "data": {"seconds": 0.01}}),
        (0.02, {"name": "scan", "data": {"seconds": 0.2, "reports": True}}),
        (0.05, LONG),
    ),
    kinds=frozenset(),
    faults_seconds=0.5,
    bells_stay_away=False,
    rests=False,
)
POINTS_A_PROCESS = int(os.environ.get("SIMULATION_POINTS", "30"))
"""How many of a process's points are tried, evenly spread; 0: each of them."""


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_whatever_fails_every_task_ends_once_and_everybody_agrees_on_it(chunk, database: Database, token: str):
    for seed in [int(ONLY)] if ONLY else range(FIRST + chunk, FIRST + SCHEDULES, CHUNKS):
        accept(World(seed, database, token).run(), f"SIMULATION_SEED={seed} make simulation")


@pytest.mark.skipif(ONLY is not None, reason="one schedule is asked for")
@pytest.mark.parametrize("victim", ["s0.1", "s1.2", "w0.3", "w1.4"])
def test_a_process_may_die_at_every_await_and_around_every_transaction(victim, database: Database, token: str):
    """First without a death, to count the points; then once for each of them."""
    whole = World("small", database, token, SMALL).run()
    accept(whole, "no death")
    points = whole.points[victim]
    assert points > 5
    for point in range(1, points + 1, max(1, points // POINTS_A_PROCESS) if POINTS_A_PROCESS else 1):
        world = World("small", database, token, SMALL)
        world.dies[victim] = point
        accept(world.run(), f"{victim} dies at its point {point} of {points}")


class TestTheSimulation:
    @pytest.mark.parametrize("seed", range(4))
    def test_does_the_same_for_the_same_seed(self, seed, database: Database, token: str):
        first, second = (World(seed, database, token).run() for _ in range(2))
        assert first.trace
        assert (first.trace, first.points) == (second.trace, second.points)

    def test_does_something_else_for_another_seed(self, database: Database, token: str):
        first, second = (World(seed, database, token).run() for seed in (1, 2))
        assert first.trace != second.trace

    def test_does_the_same_in_another_process_where_strings_have_other_hashes(
        self, database: Database, token: str
    ):
        here = World(3, database, token).run()
        there = subprocess.run(
            [sys.executable, "-m", "tests.simulation", "3"],
            cwd=Path(__file__).resolve().parents[2],
            env={**os.environ, "PYTHONHASHSEED": "7", "SECRET_KEY": "simulated"},
            capture_output=True,
            text=True,
            check=True,
        )
        assert there.stdout.splitlines() == here.trace


def accept(outcome: Outcome, again: str) -> None:
    if outcome.wrongs:
        lines = ["", *outcome.trace[-SHOWN_LINES:], "", *outcome.wrongs, "", f"Once more: {again}"]
        pytest.fail("\n".join(lines), pytrace=False)
