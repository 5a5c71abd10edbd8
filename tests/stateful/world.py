"""The server processes and the model side by side, and the news between the processes."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from uuid import UUID

from queueapp import doorbell
from queueapp.doorbell import Ring
from queueapp.models import Activity, Attempt, ChangedKey, Node, Queue, Route, Subscription, Task, WorkerSession
from stateful.audit import Ended, audit
from stateful.clock import Clock
from stateful.model import LEASE, Model, ModelNode, ModelWorker
from stateful.portions import Sizes
from stateful.process import Process


class World:
    def __init__(self, clock: Clock) -> None:
        _clean()
        clock.restart()
        self.clock = clock
        self.model = Model()
        self.processes: list[Process] = []
        self.joining: dict[UUID, ModelWorker] = {}
        """Workers that have connected and not been through a pass."""
        self.offered: set[str] = set()
        """What any worker has ever offered."""
        self.sizes = Sizes()
        self.bells_away = False
        """Whether doorbells reach no other process: each then goes by its own, and by its slow poll."""
        self.touched = True
        """Whether rows may have changed since the last audit."""
        self.ended: Ended = {}
        self._rings: list[Ring] = []
        self._unlisten = doorbell.listen(self._rings.append)
        self._complaints = _Complaints()
        logging.getLogger("queueapp").addHandler(self._complaints)

    def close(self) -> None:
        logging.getLogger("queueapp").removeHandler(self._complaints)
        self._unlisten()

    @property
    def now(self) -> datetime:
        return self.clock.now()

    def audit(self) -> None:
        assert not self._complaints.heard, self._complaints.heard
        audit(self.model, self.ended)
        self.touched = False

    # ---- processes

    def start_process(self) -> None:
        process = Process(len(self.model.nodes) + 1, self.now)
        self.entered(process)
        self.touched = True
        self.processes.append(process)

    def entered(self, process: Process) -> None:
        self.model.nodes[process.node_id] = ModelNode(process.node_id, self.now + LEASE, self.now + LEASE)

    def connections(self) -> list[tuple[Process, ModelWorker]]:
        """Each worker that has a connection, with the process at its other end. A process that has not heard of
        an operator's disconnect still has one with a worker that is gone."""
        known = self.model.workers | self.joining
        return [(process, known[worker_id]) for process in self.processes for worker_id in process.links]

    # ---- news

    @contextmanager
    def news_from(self, process: Process | None) -> Iterator[None]:
        """What is rung meanwhile is heard by the process where it happens (None: a command) and by the
        others."""
        self._rings.clear()
        self.touched = True
        yield
        self.tell(doorbell.merged(self._rings), process)

    def tell(self, news: Ring, process: Process | None) -> None:
        for each in self.processes:
            if each is process or not self.bells_away:
                each.hear(news, foreign=each is not process)


class _Complaints(logging.Handler):
    """A pass survives an item that it cannot deal with, and says so; here there is none."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.heard.append(self.format(record))


def _clean() -> None:
    """Rows of the example before. Plain deletions: a few rows do not repay PostgreSQL's TRUNCATE."""
    for model in (Activity, Attempt, ChangedKey, Task, Subscription, WorkerSession, Route, Queue, Node):
        model.objects.all()._raw_delete("default")
