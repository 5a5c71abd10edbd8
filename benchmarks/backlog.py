"""What a backlog that nobody can take costs the tasks that somebody can: submit to assigned, one at a time.

Without sockets: the lifecycle, the dispatcher and the database, as a server process runs them.
"""

from __future__ import annotations

import statistics
import time

from rich.console import Console
from rich.table import Table

from queueapp import database, doorbell, lifecycle, sessions
from queueapp.domain.submission import Submission
from queueapp.lifecycle import Report
from queueapp.models import new_id
from queueapp.passes import Inbox, Pass
from queueapp.registration import parse_query
from queueapp.sessions import Attachment

ROUNDS = 200
BACKLOGS = (0, 1_000, 10_000, 100_000)
BATCH = 5_000


class Process:
    """A server process with one worker, which matches only `cloud=aws`."""

    def __init__(self) -> None:
        self.passes = Pass(sessions.start_node(database.now()))
        self._rung: list = []
        doorbell.listen(lambda news: self._rung.extend(news.routes))
        query = parse_query(b"task=bench&cloud=aws", 100)
        self.worker = new_id()
        self.run(attachments=[Attachment(self.worker, query.options, query.offers)])

    def run(self, **inbox: object):
        routes, self._rung[:] = list(self._rung), []
        return self.passes.run(Inbox(routes=routes, **inbox))

    def round_trip_seconds(self) -> float:
        """From the submission of one task to its assignment; it is finished afterwards, off the clock."""
        started = time.perf_counter()
        lifecycle.submit([Submission("bench", {"cloud": "aws"})], None, database.now())
        (assignment,) = self.run().assignments
        seconds = time.perf_counter() - started
        self.run(reports=[Report(self.worker, assignment.task.task_id, done=True)])
        return seconds


def grow_backlog(current: int, wanted: int) -> None:
    """Tasks of the worker's name whose attributes nobody accepts, each set of attributes different."""
    for start in range(current, wanted, BATCH):
        numbers = range(start, min(start + BATCH, wanted))
        lifecycle.submit(
            [Submission("bench", {"cloud": "azure", "node": str(n)}) for n in numbers], None, database.now()
        )


def report() -> None:
    process = Process()
    table = Table(title="One task that somebody can take, behind tasks that nobody can (submit to assigned)")
    for column in ("pending that nobody matches", "median ms", "p99 ms", "median, to an empty queue"):
        table.add_column(column, justify="right")
    base, size = 0.0, 0
    for wanted in BACKLOGS:
        grow_backlog(size, wanted)
        size = wanted
        process.run(tick=True)  # learns of the new routes, as a server does within a second
        seconds = [process.round_trip_seconds() for _ in range(ROUNDS)]
        median = statistics.median(seconds)
        base = base or median
        p99 = statistics.quantiles(seconds, n=100)[98]
        table.add_row(f"{wanted:,}", f"{median * 1e3:.2f}", f"{p99 * 1e3:.2f}", f"{median / base:.2f}")
    Console().print(table)
