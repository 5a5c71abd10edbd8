"""What the rules share: a world for each example, and what must be true after every step."""

from __future__ import annotations

import sys
from dataclasses import replace

import pytest
from django.conf import settings
from django.test import override_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant

from stateful.choosing import waiting_for_nothing
from stateful.clock import Clock
from stateful.portions import MANY, Sizes
from stateful.process import Process
from stateful.turns import all_sent, turn
from stateful.world import World

NAMES = ("tag", "tag", "tag", "scan")
"""Small alphabets, here and in the rules, so that workers and tasks meet."""

FEW = 2

mostly = st.sampled_from((True, True, True, False))

sizes = st.sampled_from(
    (
        Sizes(),
        Sizes(),
        Sizes(work_a_pass=8),
        Sizes(work_a_pass=2, passes_a_turn=1),
        Sizes(ended_at_once=1, passes_a_turn=1),
        Sizes(tasks_at_once=1, passes_a_turn=1),
        Sizes(work_a_pass=8, ended_at_once=2, tasks_at_once=1),
        Sizes(work_a_pass=1, ended_at_once=1, tasks_at_once=1, passes_a_turn=1),
    )
)


class Machine(RuleBasedStateMachine):
    clock = Clock()

    def __init__(self) -> None:
        super().__init__()
        self.world = World(self.clock)
        self.model = self.world.model
        self.world.start_process()
        self._settings = override_settings()
        self._settings.enable()
        self._patch = pytest.MonkeyPatch()

    def teardown(self) -> None:
        try:
            if sys.exc_info()[0] is None:  # else what is told would be what follows, and not what failed
                self.come_to_rest()
        finally:
            self._patch.undo()
            self._settings.disable()
            self.world.close()

    @initialize(
        pass_size=st.sampled_from((MANY, MANY, FEW)),
        sizes=sizes,
        others=st.integers(0, 2),
        bells_away=st.booleans(),
    )
    def begin(self, pass_size: int, sizes: Sizes, others: int, bells_away: bool) -> None:
        self.world.bells_away = bells_away
        self.world.sizes = sizes
        sizes.apply(self._patch)
        settings.WORKQUEUE = replace(settings.WORKQUEUE, pass_size=pass_size)
        for _ in range(others):
            self.step()
            self.world.start_process()

    def step(self) -> None:
        """Every rule begins with it: no two steps happen at one time."""
        self.clock.step()

    def come_to_rest(self) -> None:
        """Each process ticks twice, and no doorbell is lost: what could be repaired is, and what was said has been
        taken in."""
        away, self.world.bells_away = self.world.bells_away, False
        for _ in range(2):
            for process in self.world.processes:
                self.step()
                turn(self.world, process, tick=True, passes=MANY)
        self.world.audit()
        if self.world.processes:
            left = waiting_for_nothing(self.model, self.world.now)
            assert not left, f"{left} wait, and somebody has room"
            assert not self.world.joining, f"{self.world.joining} wait to be welcomed"
            assert not self.model.orphans(), f"{self.model.orphans()} have no process and do not end"
        for process in self.world.processes:
            all_sent(self.model, process)
            here = [w for w in self.model.workers.values() if w.attached and w.node == process.node_id]
            left_behind = [worker for worker in here if worker.id not in process.links]
            assert not left_behind, f"{left_behind} have no connection and do not end"
        self.world.bells_away = away

    def turn_if(self, wanted: bool, process: Process | None, tick: bool = False) -> None:
        """A frame need not be alone in its pass: what is not turned at once gathers in the inbox."""
        if wanted and process is not None:
            self.step()
            turn(self.world, process, tick)

    @invariant()
    def rows_agree(self) -> None:
        if self.world.touched:
            self.world.audit()
