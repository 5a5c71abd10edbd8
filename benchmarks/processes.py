"""Several server processes over one PostgreSQL and one Redis: what each more of them brings."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from benchmarks.bench import Bench
from benchmarks.figures import Figure, Point, Ratio, medians
from benchmarks.measurement import Measurement

TITLE = "Server processes: end to end on PostgreSQL and Redis, workers and producers spread over them"

COUNTS = (1, 2, 4)
WORKERS = 50
WARM_UP_TASKS = 500


def measure(bench: Bench) -> Iterator[Figure]:
    if "postgresql" not in bench.databases:
        return
    rounds: dict[tuple[int, bool], list[Measurement]] = defaultdict(list)
    for _ in range(bench.rounds):
        for processes in COUNTS:
            with (
                bench.site.database("postgresql") as url,
                bench.site.queue_at(url, processes=processes) as queue,
            ):
                for batch in (False, True):
                    queue.attach(WORKERS, batch)
                    queue.measure(WARM_UP_TASKS)
                    rounds[processes, batch].append(queue.measure(bench.tasks))
                    queue.detach()
    for (processes, batch), measured in rounds.items():
        own = [each.per_second for each in measured]
        one = [each.per_second for each in rounds[1, batch]]
        frames = "_batch=1" if batch else "single frames"
        yield Figure.of_rounds(
            f"{processes} process{'es' if processes > 1 else ''}, {frames}",
            own,
            "/s",
            ratios=() if processes == 1 else (Ratio.of_rounds("one process", own, one),),
            cpu_us=medians(each.cpu_us for each in measured),
            point=Point("Throughput by server processes", frames, processes),
            note=f"{bench.tasks:,} tasks, {WORKERS} workers",
        )
