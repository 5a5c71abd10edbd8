"""One run of one contender."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Measurement:
    """`cpu_us`: microseconds of CPU a task, by who used them. `first_after_seconds`: where tasks were waiting for
    workers, from the coming of these to the first task that one of them got."""

    tasks: int
    seconds: float
    cpu_us: dict[str, float]
    first_after_seconds: float = 0.0

    @property
    def per_second(self) -> float:
        return self.tasks / self.seconds
