"""End to end: small tasks submitted in arrays over REST, done by workers over WebSockets, until every result is
durable; beside the raw SQL loop, which is the limit, and beside other queues.

The contenders take turns within a round, and every ratio is formed within a round.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass

from benchmarks import peers
from benchmarks.bench import Bench
from benchmarks.figures import Figure, Point, Ratio, Target, medians
from benchmarks.measurement import Measurement
from benchmarks.raw_sql import BATCH, RawSql
from benchmarks.site import TITLES, Database, Program

TITLE = "End to end, tasks a second until every result is durable"

LIMIT = f"raw SQL loop, {BATCH} a batch"
PEERS = {"celery": "Celery + Redis", "dramatiq": "Dramatiq + Redis", "procrastinate": "Procrastinate"}
WARM_UP_TASKS = 500
HEADLINE_WORKERS = 50

RAW_TARGETS = {False: Target(0.6), True: Target(0.9)}
PEER_TARGETS = {"celery": Target(8), "procrastinate": Target(15)}
SQLITE_TARGET = Target(1.3)


@dataclass(frozen=True, slots=True)
class Case:
    """One way to run our queue. `batch`: frames are arrays, and results are acknowledged."""

    database: Database
    program: Program
    workers: int
    batch: bool

    def __str__(self) -> str:
        program = "" if self.program == "serve" else ", stock Daphne"
        frames = "_batch=1" if self.batch else "single frames"
        return f"{TITLES[self.database]}{program}, {self.workers} workers, {frames}"

    @property
    def is_headline(self) -> bool:
        return self.program == "serve" and self.workers == HEADLINE_WORKERS


Rounds = Mapping[object, list[Measurement]]


def measure(bench: Bench) -> Iterator[Figure]:
    with ExitStack() as stack:
        contest = _Contest(bench, stack)
        for _ in range(bench.rounds):
            contest.play()
    yield from _figures(contest.rounds, contest.limits)


class _Contest:
    """`limits`: for each of our cases on PostgreSQL, what the limit did right before it."""

    def __init__(self, bench: Bench, stack: ExitStack) -> None:
        self._bench = bench
        self.rounds: dict[object, list[Measurement]] = defaultdict(list)
        self.limits: dict[object, list[Measurement]] = defaultdict(list)
        if "postgresql" in bench.databases:
            url = stack.enter_context(bench.site.database("postgresql"))
            self._limit = stack.enter_context(closing(RawSql(url, bench.site.postgres_pid)))
            self._limit.measure(WARM_UP_TASKS)

    def play(self) -> None:
        """One round: everybody once."""
        for database in self._bench.databases:
            self._play_cases(database, "serve", self._bench.worker_counts)
            self._play_cases(database, "daphne", (HEADLINE_WORKERS,))
        for name in PEERS if self._bench.with_peers else ():
            with peers.running(name, self._bench.site) as peer:
                self.rounds[name].append(peer.measure(self._bench.peer_tasks[name]))

    def _play_cases(self, database: Database, program: Program, worker_counts: tuple[int, ...]) -> None:
        with self._bench.site.queue(database, program) as queue:
            queue.attach(HEADLINE_WORKERS)
            queue.measure(WARM_UP_TASKS)
            queue.detach()
            for workers in worker_counts:
                for batch in (False, True):
                    case = Case(database, program, workers, batch)
                    if database == "postgresql":
                        self.limits[case].append(self._limit.measure(self._bench.tasks))
                    queue.attach(workers, batch)
                    self.rounds[case].append(queue.measure(self._bench.tasks))
                    queue.detach()


def _figures(rounds: Rounds, limits: Rounds) -> Iterator[Figure]:
    every_limit = [measurement for case in limits for measurement in limits[case]]
    if every_limit:
        yield _figure(LIMIT, every_limit, ())
    for case, measured in rounds.items():
        if isinstance(case, Case):
            point = Point(f"End to end, {TITLES[case.database]}", str(case).split(", ")[-1], case.workers)
            ratios = tuple(_ratios(case, rounds, limits))
            yield _figure(str(case), measured, ratios, None if case.program == "daphne" else point)
    for name, title in PEERS.items():
        if name in rounds:
            yield _figure(title, rounds[name], ())


def _ratios(case: Case, rounds: Rounds, limits: Rounds) -> Iterator[Ratio]:
    own = _rates(rounds[case])
    targets = case.is_headline
    if case in limits:
        yield Ratio.of_rounds("raw SQL", own, _rates(limits[case]), RAW_TARGETS[case.batch] if targets else None)
    same_on_postgresql = Case("postgresql", case.program, case.workers, case.batch)
    if case.database == "sqlite" and same_on_postgresql in rounds:
        target = SQLITE_TARGET if targets else None
        yield Ratio.of_rounds("ours on PostgreSQL", own, _rates(rounds[same_on_postgresql]), target)
    if case.is_headline and case.database == "postgresql":
        for name, title in PEERS.items():
            if name in rounds:
                target = None if case.batch else PEER_TARGETS.get(name)
                yield Ratio.of_rounds(title, own, _rates(rounds[name]), target)


def _rates(measured: list[Measurement]) -> list[float]:
    return [measurement.per_second for measurement in measured]


def _figure(
    name: str, measured: list[Measurement], ratios: tuple[Ratio, ...], point: Point | None = None
) -> Figure:
    return Figure.of_rounds(
        name,
        _rates(measured),
        "/s",
        ratios=ratios,
        cpu_us=medians(measurement.cpu_us for measurement in measured),
        point=point,
        note=f"{measured[0].tasks:,} tasks",
    )
