"""Schedules by name, so that any can be repeated: `1234`, a seed, or `small-0:s0.1:17`, a death at that point."""

from __future__ import annotations

import traceback

from tests.simulation.database import Database
from tests.simulation.plan import LONG, Plan
from tests.simulation.world import Outcome, World

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
"""Nothing goes wrong in it but what a name adds."""
VICTIMS = ("s0.1", "s1.2", "w0.3", "w1.4")
"""Its servers and workers."""


def run(name: str, database: Database, token: str) -> Outcome:
    seed, *death = name.split(":")
    world = World(seed, database, token, SMALL if seed.startswith("small") else None)
    if death:
        victim, point = death
        world.dies[victim] = int(point)
    try:
        return world.run()
    except Exception:
        # What led to it is in the trace.
        return Outcome(world.trace, world.points, [traceback.format_exc()])
