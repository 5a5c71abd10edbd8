"""What attached workers cost: to attach, to be there, and in every pass."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import psutil

from benchmarks.bench import Bench
from benchmarks.cpu import cpu_seconds
from benchmarks.figures import Figure, Point, Ratio, Target, medians
from benchmarks.measurement import Measurement
from benchmarks.site import Queue

TITLE = "Workers: 10, 1,000 and 5,000 attached, PostgreSQL"

WARM_UP_TASKS = 500
RATE_TARGET = Target(0.7)
IDLE_TARGET = Target(1, at_most=True)
IDLE_TARGET_WORKERS = 1_000
MEMORY_TARGET = Target(60, at_most=True)


@dataclass(frozen=True, slots=True)
class Visit:
    """What one round found with so many workers."""

    attached_per_second: float
    idle_percent: float
    kilobytes_each: float
    work: Measurement


def measure(bench: Bench) -> Iterator[Figure]:
    counts = (10, 200) if bench.quick else (10, 1_000, 5_000)
    visits: dict[int, list[Visit]] = defaultdict(list)
    for _ in range(bench.rounds):
        for workers in counts:
            with bench.site.queue(bench.databases[0]) as queue:
                visits[workers].append(_visit(bench, queue, workers))
    for workers in counts:
        yield from _figures(workers, visits[workers], visits[counts[0]], is_most=workers == counts[-1])


def _visit(bench: Bench, queue: Queue, workers: int) -> Visit:
    queue.attach(10)
    queue.measure(WARM_UP_TASKS)
    queue.detach()
    server = queue.servers[0].pid
    before = _memory_bytes(server)
    attaching_seconds = queue.attach(workers)
    idle_percent = _idle_percent(server, 5 if bench.quick else 20)
    kilobytes_each = (_memory_bytes(server) - before) / workers / 1024
    work = queue.measure(bench.tasks)
    return Visit(workers / attaching_seconds, idle_percent, kilobytes_each, work)


def _memory_bytes(pid: int) -> int:
    """What would be free again without the process."""
    return psutil.Process(pid).memory_full_info().uss


def _idle_percent(pid: int, seconds: float) -> float:
    """Of one core, over some of the server's pings (one in 10 s to each worker)."""
    before = cpu_seconds(pid)
    time.sleep(seconds)
    return (cpu_seconds(pid) - before) / seconds * 100


def _figures(workers: int, visits: list[Visit], fewest: list[Visit], is_most: bool) -> Iterator[Figure]:
    title = f"{workers:,} attached"
    rates = [visit.attached_per_second for visit in visits]
    yield Figure.of_rounds(
        f"{title}: attached", rates, "workers/s", point=Point("Attaching workers", "attached", workers)
    )
    idle = [visit.idle_percent for visit in visits]
    target = IDLE_TARGET if workers == IDLE_TARGET_WORKERS else None
    yield Figure.of_rounds(f"{title}: server's CPU, idle", idle, "% of a core", target=target)
    if visits is not fewest:  # of ten connections one does not see what each takes
        memory = [visit.kilobytes_each for visit in visits]
        yield Figure.of_rounds(f"{title}: memory a connection", memory, "KB", target=MEMORY_TARGET)
    own = [visit.work.per_second for visit in visits]
    ratios: tuple[Ratio, ...] = ()
    if visits is not fewest:
        target = RATE_TARGET if is_most else None
        ratios = (Ratio.of_rounds("with 10", own, [visit.work.per_second for visit in fewest], target),)
    yield Figure.of_rounds(
        f"{title}: end to end",
        own,
        "/s",
        ratios=ratios,
        cpu_us=medians(visit.work.cpu_us for visit in visits),
        point=Point("Throughput by attached workers", "end to end", workers),
        note=f"{visits[0].work.tasks:,} tasks, single frames",
    )
