"""A server process without its sockets and event loop: the real `Pass`, and what its workers have been sent.

The bookkeeping is the hub's and the link's (`queueapp/hub.py`, `link.py`), in plain calls.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from uuid import UUID

from queueapp import sessions
from queueapp.dispatch import Assignment
from queueapp.doorbell import Ring
from queueapp.inbox import Inbox
from queueapp.models import Node
from queueapp.passes import Outbox, Pass


class Process:
    def __init__(self, number: int, now: datetime) -> None:
        self.number = number
        self.enter(now)

    def __repr__(self) -> str:
        return f"<p{self.number}>"

    def enter(self, now: datetime) -> None:
        """As a new node, with nothing in memory."""
        self.node_id = sessions.start_node(now)
        # A host of its own: the next process to start would take one of its own host and pid for dead.
        Node.objects.filter(pk=self.node_id).update(host=f"host-{self.node_id}")
        self.passes = Pass(self.node_id, reaps_from=sessions.lease_end(now))
        self.inbox = Inbox()
        self.links: dict[UUID, dict[UUID, int]] = {}
        self.aware: set[UUID] = set()
        """Routes of which it was told, or has seen itself, that tasks wait: it needs no tick to serve them."""

    def hear(self, news: Ring, foreign: bool) -> None:
        self.inbox.routes.extend(news.routes)
        self.inbox.roster = self.inbox.roster or news.roster
        self.inbox.keys = self.inbox.keys or news.keys
        if foreign:
            self.inbox.announced.extend(news.assigned)
        for revoked in news.revoked:
            self.let_go(revoked.session_id, revoked.task_id, revoked.attempt)
        for session_id, _, _ in news.closed:
            self.links.pop(session_id, None)

    def let_go(self, session_id: UUID, task_id: UUID, attempt: int | None) -> None:
        held = self.links.get(session_id, {})
        if attempt in (None, held.get(task_id)):
            held.pop(task_id, None)

    def take_inbox(self, tick: bool) -> Inbox:
        inbox, self.inbox = self.inbox, Inbox()
        inbox.tick = tick
        return inbox

    def run(self, inbox: Inbox) -> Outbox:
        """What the pass has left comes before all that comes in from now on."""
        held = {session_id: dict(tasks) for session_id, tasks in self.links.items()}
        outbox = self.passes.run(inbox, held if inbox.tick or inbox.announced else None)
        self.inbox = outbox.left.followed_by(self.inbox)
        return outbox

    def send(self, outbox: Outbox) -> set[UUID]:
        """Hand the tasks to the workers that are connected here, and take from them what the slow poll has found
        to be theirs no more. Returns the tasks for workers elsewhere."""
        self.hear(outbox.unheard, foreign=True)
        for report, _ in outbox.verdicts:
            self.let_go(report.session_id, report.task_id, report.attempt)
        return self._hand_over(outbox.assignments)

    def _hand_over(self, assignments: Iterable[Assignment]) -> set[UUID]:
        elsewhere = set()
        for task in (assignment.task for assignment in assignments):
            if task.session_id in self.links:
                self.links[task.session_id][task.task_id] = task.attempt
            else:
                elsewhere.add(task.task_id)
        return elsewhere
