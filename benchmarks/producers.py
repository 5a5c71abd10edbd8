"""Producers who send one task a request, and read one: how many requests a second, by how many producers."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from statistics import median
from typing import NamedTuple

from benchmarks.bench import Bench
from benchmarks.cpu import cpu_seconds
from benchmarks.figures import Figure, Point, Ratio
from benchmarks.site import TITLES, Database, Queue

TITLE = "Producers: one task a request, with workers attached that do them"

WORKERS = 50
PRODUCERS = (1, 4, 16, 64)
WARM_UP_SECONDS = 0.25
KINDS = {"submissions": False, "reads": True}


class Measured(NamedTuple):
    """`latency_ms`: the median."""

    per_second: float
    latency_ms: float
    cpu_us: float


def measure(bench: Bench) -> Iterator[Figure]:
    for database in bench.databases:
        yield from _on(bench, database, 0.5 if bench.quick else 2.0)


def _on(bench: Bench, database: Database, seconds: float) -> Iterator[Figure]:
    measured: dict[tuple[str, int, bool], list[Measured]] = defaultdict(list)
    for _ in range(bench.rounds):
        with bench.site.queue(database) as queue:
            queue.attach(WORKERS)
            for kind in KINDS:
                for producers in PRODUCERS:
                    for alone in (False, True):
                        _produce(queue, kind, producers, WARM_UP_SECONDS, alone)
                        measured[kind, producers, alone].append(_produce(queue, kind, producers, seconds, alone))
    for kind in KINDS:
        for producers in PRODUCERS:
            yield _figure(TITLES[database], kind, producers, measured)


def _produce(queue: Queue, kind: str, producers: int, seconds: float, alone: bool) -> Measured:
    server = queue.servers[0].pid
    before = cpu_seconds(server)
    answer = queue.load.ask("produce", producers=producers, seconds=seconds, reads=KINDS[kind], alone=alone)
    took = answer["took"]
    used = cpu_seconds(server) - before
    return Measured(len(took) / answer["seconds"], median(took) * 1e3, used / len(took) * 1e6)


def _figure(
    title: str, kind: str, producers: int, measured: dict[tuple[str, int, bool], list[Measured]]
) -> Figure:
    own, alone = measured[kind, producers, False], measured[kind, producers, True]
    rates = [each.per_second for each in own]
    p50, p50_alone = (median(each.latency_ms for each in rounds) for rounds in (own, alone))
    return Figure.of_rounds(
        f"{title}, {kind}, {producers} at a time",
        rates,
        "/s",
        ratios=(Ratio.of_rounds("each by its view alone", rates, [each.per_second for each in alone]),),
        cpu_us={"server": median(each.cpu_us for each in own)},
        point=Point(f"Requests for one task, {title}", kind, producers),
        note=f"p50 {p50:.1f} ms; alone {p50_alone:.1f}",
    )
