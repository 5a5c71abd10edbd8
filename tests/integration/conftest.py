"""Helpers beside the tests are imported by their names."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from fleet import Fleet

from queueapp.queue_rollups import QueueRollups
from queueapp.rollups import Rollups


@pytest.fixture
def nothing_is_rolled_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ticks that fall into different ten seconds, or minutes, write what was counted: not these."""
    for each in (Rollups, QueueRollups):
        monkeypatch.setattr(each, "tick", lambda self, now: None)


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    fleet = Fleet()
    yield fleet
    fleet.unlisten()
