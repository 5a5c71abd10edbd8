"""Curves as SVG: a line for each series, or bars where the x are words. By hand: small files, small diffs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from benchmarks.figures import Figure

WIDTH, HEIGHT = 720, 420
LEFT, RIGHT, TOP, BOTTOM = 80, 20, 48, 96
COLOURS = ("#1b6ca8", "#c8553d", "#3c8d5a", "#8a5fa8", "#b8860b", "#5a6670", "#d17ba6", "#2aa1a1")
STYLE = "text{font:13px sans-serif;fill:#333}.title{font-size:15px;font-weight:bold}.grid{stroke:#ddd}"

Series = dict[str, list[tuple[float | str, Figure]]]


@dataclass(frozen=True, slots=True)
class Axis:
    """From values to pixels; `ticks` are values. Logarithmic, it begins at a whole power of ten."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool

    def at(self, value: float) -> float:
        low, high, value = (self._scaled(each) for each in (self.low, self.high, value))
        return self.start + (value - low) / ((high - low) or 1) * (self.end - self.start)

    def _scaled(self, value: float) -> float:
        return math.log10(max(value, self.low)) if self.logarithmic else value


def draw(directory: Path, figures: Sequence[Figure]) -> None:
    """One file for each chart that the figures have a point on, named like it."""
    charts: dict[str, Series] = {}
    for figure in figures:
        if figure.point is not None:
            series = charts.setdefault(figure.point.chart, {})
            series.setdefault(figure.point.series, []).append((figure.point.x, figure))
    for name, series in charts.items():
        (directory / f"{_file_name(name)}.svg").write_text(_chart(name, series))


def _file_name(title: str) -> str:
    return title.lower().replace(",", "").replace(" ", "-")


def _chart(title: str, series: Series) -> str:
    points = [point for each in series.values() for point in each]
    values = [value for _, figure in points for value in (figure.value, *figure.rounds)]
    # Throughput begins at zero, lest a small difference look large; latencies differ by powers of ten.
    spread = points[0][1].unit == "ms"
    low = 10 ** math.floor(math.log10(min(values))) if spread else 0.0
    y = Axis(low, _rounded_up(max(values)), HEIGHT - BOTTOM, TOP, logarithmic=spread)
    parts = [f'<text class="title" x="{LEFT}" y="24">{escape(title)}</text>']
    for tick in _ticks(y):
        parts.append(f'<path class="grid" d="M{LEFT} {y.at(tick):.1f}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y.at(tick) + 4:.1f}" text-anchor="end">{tick:,.6g}</text>')
    parts.append(f'<text x="{LEFT - 8}" y="{TOP - 10}" text-anchor="end">{escape(points[0][1].unit)}</text>')
    words = any(isinstance(x, str) for x, _ in points)
    parts += _bars(series, y) if words else _lines(series, y)
    parts += _legend(list(series))
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">'
    ground = f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>'
    return "\n".join([head, f"<style>{STYLE}</style>", ground, *parts, "</svg>", ""])


def _lines(series: Series, y: Axis) -> list[str]:
    """With a bar at each point from the lowest to the highest of its rounds."""
    xs = sorted({float(x) for each in series.values() for x, _ in each})
    logarithmic = xs[0] > 0 and xs[-1] / xs[0] > 20
    x = Axis(xs[0], xs[-1], LEFT + 24, WIDTH - RIGHT - 24, logarithmic)
    parts = [_below(x.at(value), f"{value:,.0f}") for value in xs]
    for colour, points in zip(_colours(), series.values(), strict=False):
        line = " ".join(f"{x.at(float(value)):.1f},{y.at(figure.value):.1f}" for value, figure in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for value, figure in points:
            at = x.at(float(value))
            low, high = y.at(min(figure.rounds)), y.at(max(figure.rounds))
            parts.append(f'<path d="M{at:.1f} {low:.1f}V{high:.1f}" stroke="{colour}"/>')
            parts.append(f'<circle cx="{at:.1f}" cy="{y.at(figure.value):.1f}" r="4" fill="{colour}"/>')
    return parts


def _bars(series: Series, y: Axis) -> list[str]:
    groups = list(dict.fromkeys(str(x) for each in series.values() for x, _ in each))
    group_width = (WIDTH - RIGHT - LEFT) / len(groups)
    width = group_width * 0.8 / len(series)
    parts = []
    for number, group in enumerate(groups):
        middle = LEFT + (number + 0.5) * group_width
        parts.append(_below(middle, group))
    for index, (colour, points) in enumerate(zip(_colours(), series.values(), strict=False)):
        for value, figure in points:
            left = LEFT + (groups.index(str(value)) + 0.1) * group_width + index * width
            top = y.at(figure.value)
            parts.append(
                f'<path d="M{left:.1f} {y.start}V{top:.1f}H{left + width * 0.9:.1f}V{y.start}Z" fill="{colour}"/>'
            )
    return parts


def _below(x: float, text: str) -> str:
    """A label of the x axis."""
    return f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 20}" text-anchor="middle">{escape(text)}</text>'


def _legend(names: list[str]) -> list[str]:
    parts = []
    for number, (name, colour) in enumerate(zip(names, _colours(), strict=False)):
        left = LEFT + (number % 2) * (WIDTH - LEFT - RIGHT) / 2
        top = HEIGHT - BOTTOM + 40 + number // 2 * 16
        parts.append(f'<rect x="{left:.0f}" y="{top - 10}" width="10" height="10" fill="{colour}"/>')
        parts.append(f'<text x="{left + 16:.0f}" y="{top}">{escape(name)}</text>')
    return parts


def _colours() -> list[str]:
    return [*COLOURS, *COLOURS]


def _ticks(axis: Axis) -> list[float]:
    if axis.logarithmic:
        powers = range(round(math.log10(axis.low)), math.floor(math.log10(axis.high)) + 1)
        return [10.0**power for power in powers]
    return [axis.high * part / 5 for part in range(6)]


def _rounded_up(value: float) -> float:
    """To 1, 2, 2.5, 5 or 10 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(power * step for step in (1, 2, 2.5, 5, 10) if value <= power * step)
