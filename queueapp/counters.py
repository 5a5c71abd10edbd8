"""What this process has done since it started, for Prometheus; each process is asked for its own.

Counted a batch at a time, once its transaction is committed. Memory only: no decision rests on it.
"""

from __future__ import annotations

import threading
from collections import Counter as Tally
from collections.abc import Iterable, Iterator
from functools import partial

from django.db import transaction
from prometheus_client import CollectorRegistry, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector

from queueapp.domain.spreads import step_of
from queueapp.protocol import CloseCode

registry = CollectorRegistry()
ProcessCollector(registry=registry)

PREFIX = "workqueue_"
NAMES = 1000
"""Task names that get figures of their own. Each costs Prometheus a series for each value that it is seen with."""
OTHERS = "(other)"
"""What the rest are counted under: no task has such a name."""


class Count:
    """A counter in plain numbers under a lock: to add to one costs a tenth of what the library's takes."""

    def __init__(self, name: str, help: str, *labels: str) -> None:
        self._name, self._help, self._labels = PREFIX + name, help, labels
        self._numbers: dict[tuple[str, ...], int] = {}
        self._adding = threading.Lock()
        registry.register(self)

    def add(self, *values: str, number: int = 1) -> None:
        with self._adding:
            self._numbers[values] = self._numbers.get(values, 0) + number

    def total(self, *ending: str) -> int:
        """Over all label values, or those that end so."""
        with self._adding:
            numbers = dict(self._numbers)
        return sum(n for values, n in numbers.items() if values[len(values) - len(ending) :] == ending)

    def by_name(self, *ending: str) -> Tally[str]:
        """The total of each task name, which is the first of the labels."""
        with self._adding:
            numbers = dict(self._numbers)
        tally: Tally[str] = Tally()
        for (name, *rest), number in numbers.items():
            if tuple(rest[len(rest) - len(ending) :]) == ending:
                tally[name] += number
        return tally

    def collect(self) -> Iterator[Metric]:
        family = CounterMetricFamily(self._name, self._help, labels=self._labels)
        with self._adding:
            numbers = dict(self._numbers)
        for values, number in numbers.items():
            family.add_metric(values, number)
        yield family


class Spread:
    """How long things took, in the steps of `domain.spreads`."""

    def __init__(self) -> None:
        self._counts: Tally[int] = Tally()
        self._adding = threading.Lock()

    def add_after_commit(self, seconds: Iterable[float]) -> None:
        counts = Tally(map(step_of, seconds))
        if counts:
            transaction.on_commit(partial(self._add, counts), robust=True)

    def so_far(self) -> Tally[int]:
        with self._adding:
            return self._counts.copy()

    def _add(self, counts: Tally[int]) -> None:
        with self._adding:
            self._counts.update(counts)


submitted = Count("tasks_submitted", "Tasks stored.", "name")
assigned = Count("tasks_assigned", "Tasks assigned to workers.", "name")
ended = Count("attempts_ended", "Attempts that ended, by outcome.", "name", "outcome")
finished = Count("tasks_finished", "Tasks that ended, by state.", "name", "state")
stale = Count("results_stale", "Results of workers that did not hold the task.")
requests = Count("http_requests", "HTTP requests answered.", "method", "status")
waits = Spread()
"""From being ready to the assignment, of each assigned task."""
ends = Spread()
"""From being ready for the last attempt to its end, of tasks that succeeded or failed."""
passes = Histogram(
    PREFIX + "pass_seconds",
    "How long a pass of the database thread took.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
    registry=registry,
)

_known: set[str] = set()


def count_after_commit(counter: Count, names: Iterable[str], *value: str) -> None:
    """One for each of the names, under `value`; a transaction that is rolled back counts for nothing."""
    tally = Tally(names)
    if tally:
        transaction.on_commit(partial(_add, counter, tally, value), robust=True)


def count(counter: Count, names: Iterable[str], *value: str) -> None:
    """Of what is committed already."""
    _add(counter, Tally(names), value)


def shown(name: str) -> str:
    """The name under which figures of a task name are given."""
    if name in _known:
        return name
    if len(_known) >= NAMES:
        return OTHERS
    _known.add(name)
    return name


def _add(counter: Count, tally: Tally[str], value: tuple[str, ...]) -> None:
    for name, number in tally.items():
        counter.add(shown(name), *value, number=number)


class Sockets:
    """Of the workers' connections. Plain numbers, of the event loop alone: a lock for each frame would cost more
    than all the rest here."""

    def __init__(self) -> None:
        self.opened = self.frames_received = self.frames_sent = 0
        self.closed: Tally[str] = Tally()

    def note_close(self, code: int) -> None:
        """A peer may say any code: those of the protocol are told apart."""
        self.closed[str(code) if code in _CODES else "other"] += 1

    def collect(self) -> Iterator[Metric]:
        name = PREFIX + "websocket_"
        yield CounterMetricFamily(name + "opened", "Connections of workers that were opened.", value=self.opened)
        closed = CounterMetricFamily(name + "closed", "Those that ended, by close code.", labels=["code"])
        for code, number in self.closed.copy().items():
            closed.add_metric([code], number)
        yield closed
        open_now = self.opened - self.closed.total()
        yield GaugeMetricFamily(name + "connections", "Those that are open now, in this process.", value=open_now)
        yield CounterMetricFamily(name + "frames_received", "Frames from workers.", value=self.frames_received)
        yield CounterMetricFamily(name + "frames_sent", "Frames to workers.", value=self.frames_sent)


_CODES = {1000, 1001, 1005, 1006, 1011, *CloseCode}

sockets = Sockets()
registry.register(sockets)
