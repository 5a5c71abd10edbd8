"""One run of one contender."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Measurement:
    """`cpu_us`: microseconds of CPU a task, by who used them."""

    tasks: int
    seconds: float
    cpu_us: dict[str, float]

    @property
    def per_second(self) -> float:
        return self.tasks / self.seconds
