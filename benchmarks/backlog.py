"""What a backlog that nobody can take costs the tasks that somebody can: 99 % of what is pending match nobody."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass

from benchmarks.bench import Bench
from benchmarks.figures import Figure, Point, Ratio, Target, medians
from benchmarks.measurement import Measurement
from benchmarks.rows import Rows
from benchmarks.site import TITLES, Database

TITLE = "Backlog: assignments a second, from the first task that a worker gets to the last result"

WORKERS = 50
NOBODYS_SHARE = 0.99
MOST_TASKS = 10_000
"""A hundredth of a million."""
WARM_UP_TASKS = 500
FIRST_NOTE = "a server that has just started, and its first workers"
PART = 50_000
"""Rows of the backlog that are made at a time."""
TARGET = Target(0.8)


@dataclass(frozen=True, slots=True)
class Kind:
    """What the backlog, and the workers' subscriptions, are made of."""

    title: str
    names: int
    distinct: bool

    @property
    def task_names(self) -> list[str]:
        return [f"bench{number}" if number else "bench" for number in range(self.names)]


KINDS = (
    Kind("ten routes", names=1, distinct=False),
    Kind("all attributes distinct", names=1, distinct=True),
    Kind("1,000 task names", names=1000, distinct=True),
)


def measure(bench: Bench) -> Iterator[Figure]:
    sizes = (1_000, 10_000) if bench.quick else (1_000, 100_000, 1_000_000)
    for database in bench.databases[:1] if bench.quick else bench.databases:
        for kind in KINDS[1:2] if bench.quick else KINDS:
            yield from _of_kind(bench, database, kind, sizes)


def _of_kind(bench: Bench, database: Database, kind: Kind, sizes: tuple[int, ...]) -> Iterator[Figure]:
    """Each size has a database of its own, so that they can take turns. The tasks that can be taken are equally
    many at all sizes, for a hundredth of the smallest would not do to measure a rate."""
    tasks = min(bench.tasks, MOST_TASKS)
    first: dict[int, list[Measurement]] = defaultdict(list)
    measured: dict[int, list[Measurement]] = defaultdict(list)
    with ExitStack() as stack:
        urls = {size: stack.enter_context(bench.site.database(database)) for size in sizes}
        for size, url in urls.items():
            _fill(url, round(size * NOBODYS_SHARE), kind)
        for _ in range(bench.rounds):
            for size, url in urls.items():
                with bench.site.queue_at(url) as queue:
                    queue.submit(WARM_UP_TASKS, kind.task_names)
                    first[size].append(queue.work_off(WARM_UP_TASKS, WORKERS, kind.task_names))
                    queue.submit(tasks, kind.task_names)
                    measured[size].append(queue.work_off(tasks, WORKERS, kind.task_names))
    smallest = [each.per_second for each in measured[sizes[0]]]
    for size in sizes:
        own = [each.per_second for each in measured[size]]
        target = TARGET if size == sizes[-1] else None
        to_smallest = () if size == sizes[0] else (Ratio.of_rounds(f"with {sizes[0]:,}", own, smallest, target),)
        yield Figure.of_rounds(
            f"{TITLES[database]}, {size:,} pending, {kind.title}",
            own,
            "/s",
            ratios=to_smallest,
            cpu_us=medians(each.cpu_us for each in measured[size]),
            point=Point(f"Assignments with a backlog, {TITLES[database]}", kind.title, size),
            note=f"{tasks:,} tasks, {WORKERS} workers, _batch=1",
        )
        waited = [each.first_after_seconds for each in first[size]]
        yield Figure.of_rounds(
            f"{TITLES[database]}, {size:,} pending, {kind.title}: first task after", waited, "s", note=FIRST_NOTE
        )


def _fill(url: str, number: int, kind: Kind) -> None:
    with closing(Rows(url)) as rows:
        for start in range(0, number, PART):
            rows.add_backlog(range(start, min(start + PART, number)), kind.task_names, kind.distinct)
        rows.settle()
