"""How long things took, as counts in steps that grow by a constant factor: small to keep, and those of several
intervals and processes add up, which percentiles do not."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping

SHORTEST_SECONDS = 0.001
STEPS_A_DOUBLING = 2
STEPS = 60
"""Up to twelve days. What took longer counts as that."""


def step_of(seconds: float) -> int:
    """Step 0 is up to the shortest time, each further one up to 1.4 times the one before."""
    if seconds <= SHORTEST_SECONDS:
        return 0
    return min(STEPS, math.ceil(math.log2(seconds / SHORTEST_SECONDS) * STEPS_A_DOUBLING))


def upper_seconds(step: int) -> float:
    return SHORTEST_SECONDS * 2.0 ** (step / STEPS_A_DOUBLING)


def quantile(counts: Mapping[int, int], share: float) -> float | None:
    """The time, in seconds, within which that share was done; None of nothing. Evenly spread inside a step."""
    wanted = share * sum(counts.values())
    if not wanted:
        return None
    passed = 0.0
    for step in sorted(counts):
        if passed + counts[step] >= wanted:
            lower = upper_seconds(step - 1) if step else 0.0
            return lower + (upper_seconds(step) - lower) * (wanted - passed) / counts[step]
        passed += counts[step]
    return upper_seconds(max(counts))


def as_json(counts: Mapping[int, int]) -> dict[str, int]:
    return {str(step): number for step, number in sorted(counts.items()) if number}


def from_json(stored: Mapping[str, int]) -> Counter[int]:
    return Counter({int(step): number for step, number in stored.items()})
