"""How long a worker waits before it connects again."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReconnectBackoff:
    """Exponential with full jitter: a fleet that lost its server at one moment returns spread out.

    `stable_seconds`: a connection that lasted so long was a good one, and counting starts anew. A shorter
    one counts as a failure, or a server that accepts and then closes would be called without a pause.
    `jitter` returns a number in 0..1.
    """

    initial_seconds: float = 0.5
    factor: float = 2.0
    max_seconds: float = 30.0
    stable_seconds: float = 10.0
    jitter: Callable[[], float] = random.random

    def delay_seconds(self, failures: int) -> float:
        """The pause before the next attempt, `failures` (from 0) after the last good connection."""
        try:
            ceiling = min(self.max_seconds, self.initial_seconds * self.factor**failures)
        except OverflowError:
            ceiling = self.max_seconds
        return ceiling * self.jitter()
