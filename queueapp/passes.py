"""One pass of a process: what its sockets brought goes in, what they are to be told comes out.

A pass is two transactions, however many frames there were. What came in is committed before tasks are
assigned: a process that held locks on tasks while it waits for the dispatch lock could wait for a dispatcher
that waits for it. What has workers go waits for that lock first, and results that come without it wait for nobody.
While there is more to assign than one pass does, results alone are taken in beside it, on another connection: the
database works on both, and neither has the other wait for the interpreter and for an answer.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from uuid import UUID

from queueapp import access, counters, database, doorbell, handover, lifecycle, maintenance, sessions
from queueapp.database import DATABASE_AWAY
from queueapp.dispatch import Assignment, Dispatcher
from queueapp.domain.errors import NodeStopped
from queueapp.handover import Held
from queueapp.lifecycle import Report, SignOfLife, Verdict, activity
from queueapp.queue_rollups import QueueRollups
from queueapp.retention import Retention
from queueapp.rollups import Counted, Rollups
from queueapp.sessions import Attachment, Closing, Lease

logger = logging.getLogger(__name__)

NO_NEWS = doorbell.Ring()


@dataclass(slots=True)
class Inbox:
    """What has come in since the last pass, in the order in which it is dealt with.

    `releases` are (session, task), `capacities` (session, tasks). `announced` are tasks that another process has
    assigned here, `wanted` those that their workers have room for only now. `roster`: workers or queues changed.
    `keys`: tasks of concurrency keys have. `scheduled`: tasks are delayed. `tick`: the slow poll, the clock's work
    and the lease are due.
    """

    attachments: list[Attachment] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)
    signs: list[SignOfLife] = field(default_factory=list)
    releases: list[tuple[UUID, UUID]] = field(default_factory=list)
    capacities: list[tuple[UUID, int]] = field(default_factory=list)
    drains: list[UUID] = field(default_factory=list)
    closings: list[Closing] = field(default_factory=list)
    routes: list[UUID] = field(default_factory=list)
    announced: list[UUID] = field(default_factory=list)
    wanted: list[UUID] = field(default_factory=list)
    roster: bool = False
    scheduled: bool = False
    keys: bool = False
    tick: bool = False

    def __bool__(self) -> bool:
        return any(getattr(self, each.name) for each in fields(self))

    def brings_anything(self) -> bool:
        """Whether there is something to be written; the rest only says where to look."""
        return bool(
            self.attachments
            or self.reports
            or self.signs
            or self.releases
            or self.capacities
            or self.drains
            or self.closings
        )

    def followed_by(self, later: Inbox) -> Inbox:
        """Both in one, this one's items first."""
        return Inbox(*(getattr(self, each.name) + getattr(later, each.name) for each in fields(self)))

    def is_plain(self) -> bool:
        """Results only, as nearly always: one verb and one statement, which locks what it needs in order."""
        if self.signs or self.releases or self.capacities or self.drains or self.closings:
            return False
        return len({report.task_id for report in self.reports if report.done}) == len(self.reports)

    def is_of_results_alone(self) -> bool:
        """Nothing that must come before them or after them: two transactions may be made of it. What only says
        where to look is for that which assigns."""
        others = self.attachments or self.announced or self.wanted or self.tick
        return bool(self.reports) and not others and self.is_plain()

    def spoken_of(self) -> set[tuple[UUID, UUID]]:
        """The sessions with the tasks of which they say that they are done with them."""
        return {(report.session_id, report.task_id) for report in self.reports} | set(self.releases)

    def moves_workers(self) -> bool:
        """Whether it changes who may be given tasks, or how many: not while somebody decides on that."""
        return bool(self.capacities or self.drains or self.closings)

    def concerned(self) -> tuple[set[UUID], set[UUID], set[UUID]]:
        """The sessions that are changed, the tasks that the items name, and the sessions that end."""
        named = {task_id for _, task_id in self.spoken_of()} | {sign.task_id for sign in self.signs}
        ending = {closing.session_id for closing in self.closings}
        return {session_id for session_id, _ in self.capacities} | set(self.drains) | ending, named, ending

    def singly(self) -> Iterator[Inbox]:
        """Each item in an inbox of its own, to find the one that cannot be dealt with. What only says where to
        look is left out."""
        for each in fields(self):
            items = getattr(self, each.name)
            if isinstance(items, list) and each.name not in ("routes", "announced", "wanted"):
                for item in items:
                    single = Inbox()
                    setattr(single, each.name, [item])
                    yield single


@dataclass(slots=True)
class Outbox:
    """What to tell the sockets, and when to come back: at once if there is `more`, else by `promote_at`.

    `unheard`: news of the sessions that the slow poll has found. `left`: what could not be taken in."""

    attached: list[Attachment] = field(default_factory=list)
    verdicts: list[tuple[Report, Verdict]] = field(default_factory=list)
    assignments: list[Assignment] = field(default_factory=list)
    unheard: doorbell.Ring = NO_NEWS
    more: bool = False
    promote_at: datetime | None = None
    lease_lost: bool = False
    left: Inbox | None = None


class Pass:
    """Runs the passes of one node, on one thread but for what is taken in `beside`."""

    def __init__(
        self,
        node_id: UUID,
        reaps_from: datetime | None = None,
        counted_before: Counted | None = None,
        beside: Executor | None = None,
    ) -> None:
        """`reaps_from`: when it may begin to take other nodes for dead (None: at once). `counted_before`: as in
        `Rollups`. `beside`: one other thread, on which results are taken in while this one assigns."""
        self.node_id = node_id
        self._beside = beside
        self._has_more = False
        self.reaps_from = reaps_from
        self._dispatcher = Dispatcher()
        self._comparison = handover.Comparison(node_id)
        self._promote_at: datetime | None = None
        self._schedule_changed = True
        self._keys = access.Watch(node_id)
        self._books = activity.Books()
        self._rollups = Rollups(node_id, counted_before)
        self._queue_rollups = QueueRollups(node_id)
        self._retention = Retention()

    def run(self, inbox: Inbox, held: Held | None = None) -> Outbox:
        """Deal with the inbox. One of DATABASE_AWAY: nothing is lost, run the same inbox again later. So too with
        one that is `left`, but what else is in the outbox holds.

        `held`: what the workers of this process have been sent, by which a hand-over from another process that
        was not heard of is noticed.
        """
        outbox = Outbox()
        try:
            # Where the last pass did not come to an end there is room without that which the results make.
            if self._beside is not None and self._has_more and inbox.is_of_results_alone():
                self._take_in_beside(self._beside, inbox, held or {}, outbox)
            else:
                self._take_in_before(inbox, outbox)
                self._assign(inbox, held or {}, outbox)
        except DATABASE_AWAY:
            self._dispatcher.forget()
            raise
        return outbox

    def _take_in_before(self, inbox: Inbox, outbox: Outbox) -> None:
        if inbox.tick:
            self._tick(outbox)
        if inbox.brings_anything():
            self._take_in(inbox, outbox)

    def _take_in_beside(self, beside: Executor, inbox: Inbox, held: Held, outbox: Outbox) -> None:
        """What is assigned meanwhile is told once both are done, though its time runs."""
        taking_in = beside.submit(self._take_in_elsewhere, inbox, outbox)
        self._assign(inbox, held, outbox)
        try:
            taking_in.result()
        except DATABASE_AWAY as error:
            logger.warning("Results could not be taken in: %s", error)
            outbox.verdicts.clear()
            outbox.left = inbox
        # The pass may have seen neither the room that the results made nor whom they let through.
        outbox.more = outbox.more or self._dispatcher.has_news or bool(outbox.verdicts)

    def _take_in_elsewhere(self, inbox: Inbox, outbox: Outbox) -> None:
        try:
            self._take_in(inbox, outbox)
        finally:
            # Not kept for the next backlog, which may be hours away.
            database.give_back_connection()

    def _assign(self, inbox: Inbox, held: Held, outbox: Outbox) -> None:
        try:
            self._hand_over(inbox, held, outbox)
            self._dispatch(inbox, outbox)
            outbox.promote_at = self._next_promotion(inbox)
        except Exception as error:
            # What was taken in is committed and must be answered, whatever becomes of the dispatch.
            self._dispatcher.forget()
            self._has_more = False
            if not isinstance(error, DATABASE_AWAY):
                logger.exception("Tasks could not be assigned.")

    def end(self) -> None:
        """After the last pass: what was noted and counted since the tick that wrote last."""
        self._books.write()
        now = database.now()
        self._rollups.end(now)
        self._queue_rollups.end(now)

    def _tick(self, outbox: Outbox) -> None:
        now = database.now()
        with doorbell.held() as rings:
            lease = sessions.renew_lease(self.node_id, now)
            outbox.lease_lost = lease is Lease.LOST
            if lease is Lease.LAPSED:
                # The database was away, or this process: then others may be as late as it is, and not dead.
                self.reaps_from = sessions.lease_end(now)
            maintenance.tick(now, self._keys, self._books, reap=self.reaps_from is None or now >= self.reaps_from)
            self._dispatcher.poll(now)
            self._rollups.tick(now)
            self._queue_rollups.tick(now)
            self._retention.tick(now)
        self._hear(rings)

    def _take_in(self, inbox: Inbox, outbox: Outbox) -> None:
        try:
            self._write(inbox, outbox)
        except DATABASE_AWAY:
            raise
        except NodeStopped:
            outbox.lease_lost = True
        except Exception:
            logger.exception("A batch failed as a whole; dealing with its items one at a time.")
            self._write_singly(inbox, outbox)

    def _write(self, inbox: Inbox, outbox: Outbox) -> None:
        lock = database.DISPATCH_LOCK if inbox.moves_workers() else None
        with doorbell.held() as rings, database.brief_transaction(lock) as now:
            verdicts = _perform(self.node_id, inbox, now)
        outbox.attached += inbox.attachments
        self._keys.attached(each.session_id for each in inbox.attachments if each.api_key)
        outbox.verdicts += zip(inbox.reports, verdicts, strict=True)
        self._hear(rings)

    def _write_singly(self, inbox: Inbox, outbox: Outbox) -> None:
        """One item that nobody foresaw must not hold up the others."""
        for single in inbox.singly():
            try:
                self._write(single, outbox)
            except DATABASE_AWAY:
                raise
            except Exception:
                logger.exception("Dropped an item that cannot be dealt with: %r", single)

    def _hand_over(self, inbox: Inbox, held: Held, outbox: Outbox) -> None:
        """What others have done to the workers here and to their tasks. What a failure loses, the next tick finds.

        After what came in: a task that its worker has just given back is not to be sent to it once more.
        """
        if inbox.wanted:
            outbox.assignments += handover.in_full(inbox.wanted, held)
        if inbox.announced:
            outbox.assignments += handover.announced(inbox.announced, held)
        if inbox.tick and held and not outbox.lease_lost:
            assignments, outbox.unheard = self._comparison.run(held, inbox.spoken_of())
            outbox.assignments += assignments

    def _dispatch(self, inbox: Inbox, outbox: Outbox) -> None:
        self._dispatcher.hear(inbox.routes, inbox.keys)
        # Elsewhere, perhaps unheard: that matters for ready tasks only, and the poll has told which there are.
        changed_unheard = inbox.tick and not self._dispatcher.has_seen_all
        roster_changed = inbox.roster or changed_unheard or bool(inbox.attachments)
        result = self._dispatcher.run_pass(roster_changed)
        counters.count(counters.assigned, [assignment.task.name for assignment in result.assignments])
        outbox.assignments += result.assignments
        outbox.more = self._has_more = result.more

    def _next_promotion(self, inbox: Inbox) -> datetime | None:
        """Asked for only when it may have changed: who has just been given a task waits for the answer."""
        if inbox.tick or inbox.scheduled or self._schedule_changed:
            self._promote_at = maintenance.next_promotion()
            self._schedule_changed = False
        return self._promote_at

    def _hear(self, rings: list[doorbell.Ring]) -> None:
        """After the commit. Routes, roster and schedule are for this process to deal with, the rest for all."""
        news = doorbell.merged(rings)
        self._dispatcher.hear(news.routes, news.keys)
        self._schedule_changed = self._schedule_changed or news.scheduled
        if others := replace(news, routes=frozenset(), roster=False, keys=False, scheduled=False):
            doorbell.deliver(others)


def _perform(node_id: UUID, inbox: Inbox, now: datetime) -> list[Verdict]:
    """Every verb once, over all that there is for it. Endings come last: what arrived before still counts."""
    verdicts: list[Verdict] = []
    if inbox.attachments:
        sessions.attach(node_id, inbox.attachments, now)
    if not inbox.is_plain():
        lifecycle.lock(*inbox.concerned())
    if inbox.reports:
        verdicts = lifecycle.finish(inbox.reports, now)
    if inbox.signs:
        lifecycle.prolong(inbox.signs, now)
    given_back: dict[UUID, list[UUID]] = {}
    for session_id, task_id in inbox.releases:
        given_back.setdefault(session_id, []).append(task_id)
    for session_id, task_ids in given_back.items():
        lifecycle.release(session_id, task_ids, now)
    for session_id, max_outstanding in inbox.capacities:
        sessions.set_capacity(session_id, max_outstanding)
    if inbox.drains:
        sessions.drain(inbox.drains, leaving=True)
    if inbox.closings:
        sessions.close(inbox.closings, now)
    return verdicts
