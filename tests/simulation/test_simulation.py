"""Thousands of schedules, each of a seed: whatever dies, is lost or comes late, nothing is lost and nothing doubled."""

from __future__ import annotations

import os

import pytest

from tests.simulation.database import Database
from tests.simulation.world import World

CHUNKS = 8
SCHEDULES = int(os.environ.get("SIMULATION_SCHEDULES", "2000"))
FIRST = int(os.environ.get("SIMULATION_FIRST", "0"))
ONLY = os.environ.get("SIMULATION_SEED")
SHOWN_LINES = 400


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_whatever_fails_every_task_ends_once_and_everybody_agrees_on_it(chunk, database: Database, token: str):
    seeds = [int(ONLY)] if ONLY else range(FIRST + chunk, FIRST + SCHEDULES, CHUNKS)
    for seed in seeds:
        outcome = World(seed, database, token).run()
        if outcome.wrongs:
            pytest.fail(report(seed, outcome.trace, outcome.wrongs), pytrace=False)


def report(seed: int | str, trace: list[str], wrongs: list[str]) -> str:
    lines = ["", *trace[-SHOWN_LINES:], "", *wrongs, "", f"Once more: SIMULATION_SEED={seed} make simulation"]
    return "\n".join(lines)
