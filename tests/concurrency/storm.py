"""Parties that do, each on a connection of its own, whatever a server process can do, to the same few rows.

An operation is one task or one session acted upon. What escapes an entry point is kept; so is every error that
PostgreSQL reported, also those that the product dealt with itself.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from threading import Thread
from typing import Any
from uuid import UUID

from django.db import connection

from queueapp import access, database, doorbell, lifecycle, maintenance, queues, sessions
from queueapp.database import DATABASE_AWAY
from queueapp.domain.states import Outcome
from queueapp.domain.submission import Limits, parse_submission
from queueapp.inbox import Inbox
from queueapp.lifecycle import Report, SignOfLife, activity
from queueapp.models import Node, new_id
from queueapp.passes import Pass
from queueapp.registration import parse_query
from queueapp.sessions import Attachment, Closing

NAMES = ("tag", "scan")
QUERIES = ("task=tag,scan", "task=tag&cloud=aws", "task=tag&cloud=aws,gcp&zone=a", "task=scan&zone=a")
KEYS = tuple(f"k{number}" for number in range(60))
HOT_TASKS = 600
HOT_SESSIONS = 12
MOST_AT_ONCE = 200
TRIES_OF_THE_HUB = 5
UNIQUE_VIOLATION = "23505"
"""A retry or a submission finds its unique key taken: an answer like any other."""

Accepted = dict[tuple[UUID, int], set[tuple[UUID, bool]]]


@dataclass
class Storm:
    """What the parties share: the ids that are hot, and what came of it."""

    operations: int
    tasks: deque[UUID] = field(default_factory=lambda: deque(maxlen=HOT_TASKS))
    sessions: deque[UUID] = field(default_factory=lambda: deque(maxlen=HOT_SESSIONS))
    assigned: deque[tuple[UUID, UUID, int]] = field(default_factory=lambda: deque(maxlen=HOT_TASKS))
    """Session, task, attempt."""
    done: Counter[str] = field(default_factory=Counter)
    reported: Counter[str] = field(default_factory=Counter)
    """Errors of statements, by SQLSTATE, whoever dealt with them."""
    details: list[str] = field(default_factory=list)
    """What PostgreSQL said of those that are not answers."""
    chosen_anew: int = 0
    """Choices of a dispatcher that were out of date when their workers were locked."""
    absorbed: Counter[str] = field(default_factory=Counter)
    """Passes that were run again, as the hub does."""
    escaped: list[BaseException] = field(default_factory=list)
    created: set[UUID] = field(default_factory=set)
    accepted: Accepted = field(default_factory=lambda: defaultdict(set))
    capacities: dict[UUID, int] = field(default_factory=dict)
    """The largest that each session ever said."""

    def rage(self, parties: int, seed: int) -> None:
        doers = [Party(self, random.Random(f"{seed} {number}")) for number in range(parties)]
        threads = [Thread(target=doer.run, name=f"party {number}") for number, doer in enumerate(doers)]
        for thread in threads:
            thread.start()
        try:
            for thread in threads:
                thread.join()
        finally:
            self.operations = 0  # after Ctrl-C too, nobody goes on
            for thread, doer in zip(threads, doers, strict=True):
                thread.join()
                doer.unlisten()


class Party:
    """A server process with its producers, workers and operators, one thing after another at random."""

    def __init__(self, storm: Storm, chance: random.Random) -> None:
        self.storm = storm
        self.chance = chance
        self._routes: deque[UUID] = deque()
        self._has_chosen = False
        self.unlisten = doorbell.listen(lambda news: self._routes.extend(news.routes))
        self._enter()

    def run(self) -> None:
        acts: dict[Callable[[], int], int] = {
            self.submit: 4,
            self.cancel: 3,
            self.retry: 4,
            self.turn: 12,
            self.drain: 1,
            self.disconnect: 1,
            self.pause_or_resume: 1,
            self.tick: 2,
            self.lose_lease: 1,
        }
        kinds, weights = list(acts), list(acts.values())
        try:
            with connection.execute_wrapper(self._noting):
                while self.storm.done.total() < self.storm.operations:
                    (act,) = self.chance.choices(kinds, weights)
                    try:
                        self.storm.done[act.__name__] += act()
                    except Exception as error:
                        error.add_note(f"in {act.__name__}")
                        self.storm.escaped.append(error)
        finally:
            connection.close()

    def _noting(self, execute: Callable[..., Any], sql: str, parameters: Any, *rest: Any) -> Any:
        self._note_choices(sql, parameters)
        try:
            return execute(sql, parameters, *rest)
        except Exception as error:
            state = getattr(error.__cause__, "sqlstate", None) or type(error).__name__
            self.storm.reported[state] += 1
            if state != UNIQUE_VIOLATION:
                self.storm.details.append(f"{' '.join(sql.split())[:300]}: {error}")
            raise

    def _note_choices(self, sql: str, parameters: Any) -> None:
        if "SELECT id, max_outstanding FROM queueapp_workersession" in sql:
            self._has_chosen = parameters != ["[]"]
        elif "FROM locked AS choice" in sql:
            self._has_chosen = False
        elif self._has_chosen and "pg_advisory_xact_lock" in sql:
            self._has_chosen = False
            self.storm.chosen_anew += 1

    # ---- producers

    def submit(self) -> int:
        documents = [self._document() for _ in range(self._number())]
        now = database.now()
        parsed = [parse_submission(document, now, Limits()) for document in documents]
        receipts = lifecycle.submit(parsed, None, now)
        new = [receipt.task_id for receipt in receipts if receipt.created]
        self.storm.created.update(new)
        self.storm.tasks.extend(new)
        return len(documents)

    def _document(self) -> dict[str, Any]:
        attrs = self.chance.choice(
            ({}, {"cloud": "aws"}, {"cloud": "gcp", "zone": "a"}, {"cloud": "aws", "zone": "a"})
        )
        document: dict[str, Any] = {"name": self.chance.choice(NAMES), "attrs": attrs, "timeout": 1}
        if len(self.storm.tasks) == HOT_TASKS or self.chance.random() < 0.5:
            document["unique_key"] = self.chance.choice(KEYS)
        rare: tuple[dict[str, Any], ...] = (
            {"delay": 0.2},
            {"expires_in": 1},
            {"spill_after": 0},
            {"retry_on": ["error", "lost"], "backoff": {"initial": 0.1}},
            {"priority": 5, "max_attempts": 1},
        )
        return document | (self.chance.choice(rare) if self.chance.random() < 0.3 else {})

    def cancel(self) -> int:
        task_ids = self._some(self.storm.tasks)
        lifecycle.cancel(task_ids, database.now())
        return len(task_ids)

    def retry(self) -> int:
        task_ids = self._some(self.storm.tasks)
        lifecycle.retry(task_ids, database.now())
        return len(task_ids)

    # ---- workers

    def turn(self) -> int:
        """A pass over all that workers may have said meanwhile; run again, as by the hub, while the database ends
        its transactions."""
        inbox = self._inbox()
        for attempt in range(TRIES_OF_THE_HUB):
            try:
                outbox = self.passes.run(inbox)
                break
            except DATABASE_AWAY as error:
                self.storm.absorbed[getattr(error.__cause__, "sqlstate", None) or str(error)] += 1
                if attempt == TRIES_OF_THE_HUB - 1:
                    raise
        if outbox.lease_lost:
            self._enter()
        self.storm.sessions.extend(attachment.session_id for attachment in outbox.attached)
        for report, verdict in outbox.verdicts:
            if verdict == "accepted" and report.attempt is not None:
                self.storm.accepted[report.task_id, report.attempt].add((report.session_id, report.done))
        given = [(a.task.session_id, a.task.task_id, a.task.attempt) for a in outbox.assignments]
        self.storm.assigned.extend(given)
        return len(given) + sum(
            len(items)
            for items in (inbox.attachments, inbox.reports, inbox.signs, inbox.releases, inbox.capacities)
        )

    def _inbox(self) -> Inbox:
        inbox = Inbox(tick=self.chance.random() < 0.1, roster=True)
        while self._routes:
            inbox.routes.append(self._routes.popleft())
        if len(self.storm.sessions) < HOT_SESSIONS or self.chance.random() < 0.1:
            inbox.attachments = [self._attachment() for _ in range(self.chance.randint(1, 3))]
        inbox.reports = self._reports()
        if self.chance.random() < 0.4:
            inbox.signs = [SignOfLife(s, t, progress=0.5) for s, t, _ in self._some_assigned()]
        if self.chance.random() < 0.3:
            inbox.releases = [(s, t) for s, t, _ in self._some_assigned()[: MOST_AT_ONCE // 4]]
        if self.chance.random() < 0.2:
            inbox.capacities = [(s, self._capacity_of(s)) for s in self._some(self.storm.sessions)]
        if self.chance.random() < 0.1:
            inbox.drains = self._some(self.storm.sessions)[:2]
        if self.chance.random() < 0.1:
            inbox.closings = [Closing(s, Outcome.LOST, 1006) for s in self._some(self.storm.sessions)[:2]]
        return inbox

    def _attachment(self) -> Attachment:
        session_id = new_id()
        parsed = parse_query(self.chance.choice(QUERIES).encode(), self._capacity_of(session_id))
        return Attachment(session_id, parsed.options, parsed.offers)

    def _capacity_of(self, session_id: UUID) -> int:
        capacity = self._number()
        self.storm.capacities[session_id] = max(capacity, self.storm.capacities.get(session_id, 0))
        return capacity

    def _reports(self) -> list[Report]:
        """Most of the holder; some of anybody on anything."""
        lies = [
            (self._one(self.storm.sessions), self._one(self.storm.tasks), self.chance.randint(1, 3))
            for _ in range(self.chance.randint(0, 5))
        ]
        reports = []
        for session_id, task_id, attempt in self._some_assigned() + lies:
            done = self.chance.random() < 0.8
            error = "" if done else "broken"
            reports.append(Report(session_id, task_id, done=done, error=error, attempt=attempt))
        return reports

    # ---- operators, the clock, and the ends of processes

    def drain(self) -> int:
        session_ids = self._some(self.storm.sessions)[:2]
        sessions.drain(session_ids)
        return len(session_ids)

    def disconnect(self) -> int:
        session_ids = self._some(self.storm.sessions)[:2]
        sessions.disconnect(session_ids, database.now())
        return len(session_ids)

    def pause_or_resume(self) -> int:
        names = [self.chance.choice(NAMES)]
        queues.pause(names, "storm", "", database.now()) if self.chance.random() < 0.3 else queues.resume(names)
        return 1

    def tick(self) -> int:
        maintenance.tick(database.now(), access.Watch(self.passes.node_id), activity.Books())
        return 1

    def lose_lease(self) -> int:
        """As by a process that stood still: whoever looks next takes this one for dead."""
        long_ago = database.now() - timedelta(seconds=1)
        Node.objects.running().filter(pk=self.passes.node_id).update(lease_until=long_ago)
        return 1

    def _enter(self) -> None:
        node_id = sessions.start_node(database.now())
        # A host of its own: the next to enter would take one of its own host and pid for dead.
        Node.objects.filter(pk=node_id).update(host=f"host-{node_id}")
        self.passes = Pass(node_id)

    # ---- chance

    def _number(self) -> int:
        return self.chance.randint(1, self.chance.choice((10, MOST_AT_ONCE, MOST_AT_ONCE)))

    def _some_assigned(self) -> list[tuple[UUID, UUID, int]]:
        """Of a few sessions, as a process has them, or of all."""
        known = self.storm.assigned.copy()
        among = set(self._some(self.storm.sessions)[: self.chance.choice((2, 4, HOT_SESSIONS))])
        return self._sample([held for held in known if held[0] in among])

    def _some(self, hot: deque[Any]) -> list[Any]:
        return self._sample(list(hot.copy()))

    def _sample(self, known: list[Any]) -> list[Any]:
        return self.chance.sample(known, min(len(known), self._number()))

    def _one(self, hot: Sequence[UUID]) -> UUID:
        return self.chance.choice(hot) if hot else new_id()
