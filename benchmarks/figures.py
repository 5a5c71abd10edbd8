"""What a section finds out: figures, each with the ratios that give it a meaning."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class Target:
    """What a ratio, or a figure itself, is hoped to be. A miss is printed and fails nothing."""

    bound: float
    at_most: bool = False

    def met(self, value: float) -> bool:
        return value <= self.bound if self.at_most else value >= self.bound

    def __str__(self) -> str:
        return f"{'≤' if self.at_most else '≥'} {self.bound:g}"


@dataclass(frozen=True, slots=True)
class Ratio:
    """This figure divided by another one of the same run: the median of what each round gave."""

    to: str
    value: float
    target: Target | None = None

    @classmethod
    def of_rounds(
        cls, to: str, own: Iterable[float], others: Iterable[float], target: Target | None = None
    ) -> Ratio:
        """Round by round, so that a machine that is slower for a while is so for both."""
        return cls(to, statistics.median(a / b for a, b in zip(own, others, strict=True)), target)


@dataclass(frozen=True, slots=True)
class Point:
    """Where a figure stands on a chart. `chart` is its title."""

    chart: str
    series: str
    x: float | str


@dataclass(frozen=True, slots=True)
class Figure:
    """`cpu_us`: microseconds of CPU a task, by who used them. `rounds`: what `value` is the median of."""

    name: str
    value: float
    unit: str
    ratios: tuple[Ratio, ...] = ()
    target: Target | None = None
    cpu_us: dict[str, float] = field(default_factory=dict)
    rounds: tuple[float, ...] = ()
    point: Point | None = None
    note: str = ""

    @classmethod
    def of_rounds(cls, name: str, rounds: Iterable[float], unit: str, **rest: Any) -> Self:
        values = tuple(rounds)
        return cls(name, statistics.median(values), unit, rounds=values, **rest)

    def as_json(self) -> dict[str, Any]:
        document = asdict(self)
        verdicts = [(self.value, self.target), *((ratio.value, ratio.target) for ratio in self.ratios)]
        judged = [target.met(value) for value, target in verdicts if target is not None]
        return {**document, "met": all(judged) if judged else None}


def medians(by_round: Iterable[dict[str, float]]) -> dict[str, float]:
    """Of each key over the rounds."""
    rounds = list(by_round)
    return {key: statistics.median(each[key] for each in rounds) for key in (rounds[0] if rounds else ())}
