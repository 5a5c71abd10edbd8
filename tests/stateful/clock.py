"""Time as the machine lets it pass: it stands still within a step. And ids that each repetition makes anew."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

START = datetime(2030, 1, 31, 12, tzinfo=UTC)
STEP = timedelta(milliseconds=1)
"""What passes between two steps. All durations of the tests are whole or half seconds and no example has 500
steps, so that nothing is due at the very instant at which it is looked at: there the databases' clocks round."""


class Clock:
    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self._now = START
        self._ids = 0

    def new_id(self) -> UUID:
        """A UUIDv7 as far as anybody looks at it. With real ones sets have another order each time, and so have
        workers between which the contract leaves the choice open: hypothesis could repeat nothing."""
        self._ids += 1
        return UUID(int=(self._ids << 80) | (7 << 76) | (2 << 62))

    def now(self) -> datetime:
        """Stands in for `database.now`, the one place from which the product has the time."""
        return self._now

    def step(self) -> None:
        self._now += STEP

    def advance(self, seconds: float) -> None:
        self._now += timedelta(seconds=seconds)
