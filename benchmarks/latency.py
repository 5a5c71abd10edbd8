"""How soon: from the submission of a task until a worker has it, and until a producer who waits has its result."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from statistics import median, quantiles

from benchmarks import peers
from benchmarks.bench import Bench
from benchmarks.figures import Figure, Point, Ratio, Target
from benchmarks.site import TITLES, Database

TITLE = "Latency: idle, one task at a time; and at half of the throughput that was measured just before"

WORKERS = 50
WARM_UP_TASKS = 100
BULK = 50
"""Tasks in one submission under load: the throughput of which the half is taken is measured with the same."""

ROUND_TRIP_TARGET = Target(1, at_most=True)
TAIL_TARGET = Target(10, at_most=True)

Samples = dict[str, list[list[float]]]
"""Milliseconds, by what was measured and round."""


def measure(bench: Bench) -> Iterator[Figure]:
    samples: Samples = defaultdict(list)
    rates: dict[str, list[float]] = defaultdict(list)
    with ExitStack() as stack:
        celery = stack.enter_context(peers.running("celery", bench.site)) if bench.with_peers else None
        for _ in range(bench.rounds):
            for database in bench.databases:
                _one_round(bench, database, samples, rates)
            if celery is not None:
                seconds = celery.ask("delay", str(_idle_tasks(bench)))["round_trips"]
                samples["Celery + Redis"].append([each * 1e3 for each in seconds])
    for database in bench.databases:
        yield from _figures(database, samples, rates[database])
    if bench.with_peers:
        yield from _of_celery(samples["Celery + Redis"])


def _idle_tasks(bench: Bench) -> int:
    return 50 if bench.quick else 500


def _one_round(bench: Bench, database: Database, samples: Samples, rates: dict[str, list[float]]) -> None:
    with bench.site.queue(database) as queue:
        queue.attach(WORKERS)
        queue.load.ask("round_trips", tasks=WARM_UP_TASKS)
        idle = queue.load.ask("round_trips", tasks=_idle_tasks(bench))
        half = queue.measure(bench.tasks, BULK).per_second / 2
        paced = queue.load.ask("pace", rate=half, seconds=3 if bench.quick else 30, bulk=BULK)
        rates[database].append(half)
    for state, measured in (("idle", idle), ("half load", paced)):
        for what, seconds in measured.items():
            samples[f"{database} {state} {what}"].append([each * 1e3 for each in seconds])


def _figures(database: Database, samples: Samples, rates: list[float]) -> Iterator[Figure]:
    for state in ("idle", "half load"):
        note = "one at a time" if state == "idle" else f"open loop, {median(rates):,.0f} tasks/s"
        for key, what in (("to_worker", "submit → worker"), ("to_result", "submit → result seen")):
            rounds = samples[f"{database} {state} {key}"]
            p50s, p99s = [_percentile(each, 50) for each in rounds], [_percentile(each, 99) for each in rounds]
            name = f"{TITLES[database]}, {state}, {what}"
            to_celery: tuple[Ratio, ...] = ()
            if state == "idle" and key == "to_result" and "Celery + Redis" in samples:
                theirs = [_percentile(each, 50) for each in samples["Celery + Redis"]]
                to_celery = (Ratio.of_rounds("Celery's p50", p50s, theirs, ROUND_TRIP_TARGET),)
            tail = TAIL_TARGET if (state, key) == ("half load", "to_worker") else None
            to_p50 = (Ratio.of_rounds("its p50", p99s, p50s, tail),)
            point = Point(f"Latency, {TITLES[database]}", f"{what}, p50", state)
            yield Figure.of_rounds(f"{name}, p50", p50s, "ms", ratios=to_celery, note=note, point=point)
            point = Point(f"Latency, {TITLES[database]}", f"{what}, p99", state)
            yield Figure.of_rounds(f"{name}, p99", p99s, "ms", ratios=to_p50, note=note, point=point)


def _of_celery(rounds: list[list[float]]) -> Iterator[Figure]:
    for percent in (50, 99):
        values = [_percentile(each, percent) for each in rounds]
        yield Figure.of_rounds(
            f"Celery + Redis, idle, delay().get(), p{percent}", values, "ms", note="one at a time"
        )


def _percentile(values: list[float], percent: int) -> float:
    return quantiles(values, n=100, method="inclusive")[percent - 1]
