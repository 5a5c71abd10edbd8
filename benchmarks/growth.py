"""Growth: whether a table full of finished tasks slows down those that come."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, closing

from benchmarks.bench import Bench
from benchmarks.figures import Figure, Point, Ratio, medians
from benchmarks.measurement import Measurement
from benchmarks.rows import Rows
from benchmarks.site import TITLES, Database

TITLE = "Growth: end to end, with no past and after many finished tasks"

WORKERS = 50
WARM_UP_TASKS = 500


def measure(bench: Bench) -> Iterator[Figure]:
    pasts = (0, 20_000) if bench.quick else (0, 1_000_000)
    for database in bench.databases:
        yield from _on(bench, database, pasts)


def _on(bench: Bench, database: Database, pasts: tuple[int, ...]) -> Iterator[Figure]:
    measured: dict[int, list[Measurement]] = defaultdict(list)
    with ExitStack() as stack:
        urls = {past: stack.enter_context(bench.site.database(database)) for past in pasts}
        for past, url in urls.items():
            with closing(Rows(url)) as rows:
                rows.add_past(past)
                rows.settle()
        for _ in range(bench.rounds):
            for past, url in urls.items():
                with bench.site.queue_at(url) as queue:
                    queue.attach(WORKERS)
                    queue.measure(WARM_UP_TASKS)
                    measured[past].append(queue.measure(bench.tasks))
    young = [each.per_second for each in measured[pasts[0]]]
    for past in pasts:
        own = [each.per_second for each in measured[past]]
        yield Figure.of_rounds(
            f"{TITLES[database]}, {past:,} finished before",
            own,
            "/s",
            ratios=() if past == pasts[0] else (Ratio.of_rounds("with none", own, young),),
            cpu_us=medians(each.cpu_us for each in measured[past]),
            point=Point("Throughput after finished tasks", TITLES[database], past),
            note=f"{bench.tasks:,} tasks, {WORKERS} workers, single frames",
        )
