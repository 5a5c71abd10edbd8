"""Rows of a process that has done the same in every step: from forty minutes ago until now, but for ten minutes in
which it was away, and came back for one step alone. Run in the server's own environment."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

from queueapp import database
from queueapp.models import Rollup
from queueapp.rollups import floor

STEP_SECONDS = 10
BEGAN, WENT, WAS_THERE, CAME = (timedelta(minutes=minutes) for minutes in (40, 30, 25, 20))


def make() -> None:
    now, node = floor(database.now(), STEP_SECONDS), uuid4()
    ages = (timedelta(seconds=at) for at in range(STEP_SECONDS, int(BEGAN.total_seconds()) + 1, STEP_SECONDS))
    Rollup.objects.bulk_create(
        Rollup(
            interval_seconds=STEP_SECONDS,
            begins_at=now - age,
            node_id=node,
            submitted=180,
            finished=170,
            failed=0,
            waiting=7,
            oldest_wait_seconds=1.0,
            waits={"8": 170},
            ends={"14": 170},
        )
        for age in ages
        if not CAME < age <= WENT or age == WAS_THERE
    )
