"""One pass of a process: what its sockets brought goes in, what they are to be told comes out.

A pass is two transactions, however many frames there were, and a third where sessions end; of very many it takes a
portion. What came in is committed before tasks are assigned: a process that held locks on tasks while it waits for
the dispatch lock could wait for a dispatcher that waits for it. What has workers go, or take less, waits for that
lock first, and results that come without it wait for nobody.
While there is more to assign than one pass does, results alone are taken in beside it, on another connection: the
database works on both, and neither has the other wait for the interpreter and for an answer.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from time import monotonic
from uuid import UUID

from queueapp import access, counters, database, doorbell, handover, lifecycle, maintenance, sessions
from queueapp.database import DATABASE_AWAY
from queueapp.dispatch import Assignment, Dispatcher
from queueapp.domain.errors import NodeStopped
from queueapp.handover import Held
from queueapp.inbox import Inbox
from queueapp.lifecycle import Report, Verdict, activity
from queueapp.queue_rollups import QueueRollups
from queueapp.retention import Retention
from queueapp.rollups import Counted, Rollups
from queueapp.sessions import Attachment, Lease

logger = logging.getLogger(__name__)

NO_NEWS = doorbell.Ring()

SINGLY_SECONDS = 1.0
"""How long a pass deals with items one at a time; the others are left to the next."""


@dataclass(slots=True)
class Outbox:
    """What to tell the sockets, and when to come back: at once if there is `more`, else by `promote_at`.

    `unheard`: news of the sessions that the slow poll has found. `left`: what was not taken in, to be given to the
    next pass before all else; `away`: because the database could not be asked."""

    attached: list[Attachment] = field(default_factory=list)
    verdicts: list[tuple[Report, Verdict]] = field(default_factory=list)
    assignments: list[Assignment] = field(default_factory=list)
    unheard: doorbell.Ring = NO_NEWS
    more: bool = False
    promote_at: datetime | None = None
    lease_lost: bool = False
    left: Inbox = field(default_factory=Inbox)
    away: bool = False


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
        self._has_orphans = False
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
        """Deal with the inbox, or with as much of it as a pass can, the rest being `left`. One of DATABASE_AWAY:
        nothing is lost, run the same inbox again later.

        `held`: what the workers of this process have been sent, by which a hand-over from another process that
        was not heard of is noticed.
        """
        outbox = Outbox()
        inbox, outbox.left = inbox.portion()
        try:
            # Where the last pass did not come to an end there is room without that which the results make.
            if (
                self._beside is not None
                and self._has_more
                and not self._has_orphans
                and not outbox.left
                and inbox.is_of_results_alone()
            ):
                self._take_in_beside(self._beside, inbox, held or {}, outbox)
            else:
                self._take_in_before(inbox, outbox)
                if not outbox.away:
                    self._assign(inbox, held or {}, outbox)
        except DATABASE_AWAY:
            self._dispatcher.forget()
            raise
        return outbox

    def _take_in_before(self, inbox: Inbox, outbox: Outbox) -> None:
        try:
            if inbox.tick:
                self._tick(outbox)
            elif self._has_orphans:
                self._end_orphans()
        except DATABASE_AWAY:
            raise
        except Exception:
            # What nobody foresaw in what the clock does must not cost the workers what they have said.
            logger.exception("A tick failed; the next tries again.")
            self._has_orphans = False
        outbox.more = self._has_orphans
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
            outbox.left = inbox.followed_by(outbox.left)
            outbox.away = True
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

    def take_in_all(self, inbox: Inbox) -> None:
        """At the end: the whole inbox, in as many portions as it takes. Nothing is assigned any more."""
        outbox = Outbox(left=inbox)
        while outbox.left and not outbox.away:
            inbox, outbox.left = outbox.left.portion()
            sessions.renew_lease(self.node_id, database.now())
            self._take_in(inbox, outbox)

    def end(self) -> None:
        """After the last pass: what was noted and counted since the tick that wrote last."""
        self._books.write()
        now = database.now()
        self._rollups.end(now)
        self._queue_rollups.end(now)

    def _tick(self, outbox: Outbox) -> None:
        now = database.now()
        with self._hearing():
            lease = sessions.renew_lease(self.node_id, now)
            outbox.lease_lost = lease is Lease.LOST
            if lease is Lease.LAPSED:
                # The database was away, or this process: then others may be as late as it is, and not dead.
                self.reaps_from = sessions.lease_end(now)
            reaps = self.reaps_from is None or now >= self.reaps_from
            self._has_orphans = maintenance.tick(now, self._keys, self._books, reaps)
            self._dispatcher.poll(now)
            self._rollups.tick(now)
            self._queue_rollups.tick(now)
            self._retention.tick(now)

    def _end_orphans(self) -> None:
        """Some of the sessions of a process that has ended. With thousands of workers these are many, and what the
        others are given meanwhile is given between them."""
        try:
            with self._hearing():
                self._has_orphans = sessions.end_orphans(database.now())
        except DATABASE_AWAY as error:
            logger.warning("Sessions whose process has ended wait for the next tick: %s", error)
            self._has_orphans = False

    def _take_in(self, inbox: Inbox, outbox: Outbox) -> None:
        """The ends of sessions come last, and once nothing else is left: what arrived before still counts."""
        endings = Inbox(closings=inbox.closings)
        if inbox.brings_anything():
            self._or_singly(self._write, replace(inbox, closings=[]), outbox)
        if outbox.left.brings_anything():
            outbox.left = endings.followed_by(outbox.left)
            self._hold_back(outbox)
        elif endings:
            self._or_singly(self._end_sessions, endings, outbox)

    def _or_singly(self, write: Callable[[Inbox, Outbox], None], inbox: Inbox, outbox: Outbox) -> None:
        """One item that nobody foresaw must not hold up the others."""
        try:
            write(inbox, outbox)
        except DATABASE_AWAY:
            raise
        except NodeStopped:
            outbox.lease_lost = True
        except Exception:
            logger.exception("A batch failed as a whole; dealing with its items one at a time.")
            give_up_at = monotonic() + SINGLY_SECONDS
            given_up = Inbox()
            for single in inbox.singly():
                if outbox.away or monotonic() > give_up_at:
                    given_up = given_up.followed_by(single)
                    continue
                try:
                    write(single, outbox)
                except DATABASE_AWAY:
                    raise
                except Exception:
                    logger.exception("Dropped an item that cannot be dealt with: %r", single)
            outbox.left = given_up.followed_by(outbox.left)

    def _write(self, inbox: Inbox, outbox: Outbox) -> None:
        lock = database.DISPATCH_LOCK if inbox.moves_workers() else None
        with self._hearing(), database.brief_transaction(lock) as now:
            verdicts = _perform(self.node_id, inbox, now)
        outbox.attached += inbox.attachments
        self._keys.attached(each.session_id for each in inbox.attachments if each.api_key)
        outbox.verdicts += zip(inbox.reports, verdicts, strict=True)

    def _end_sessions(self, inbox: Inbox, outbox: Outbox) -> None:
        """As many as one transaction can. The others follow, with passes in between."""
        try:
            with self._hearing(), database.brief_transaction(database.DISPATCH_LOCK) as now:
                _, left = sessions.close_some(inbox.closings, now)
        except DATABASE_AWAY as error:
            # What was said before is taken in, and answered.
            logger.warning("Sessions could not be ended: %s", error)
            left, outbox.away = inbox.closings, True
        outbox.left = Inbox(closings=left).followed_by(outbox.left)

    def _hold_back(self, outbox: Outbox) -> None:
        """Give nothing more to those whose end, or wish to leave, is to be taken in later: what they were given
        would be lost with them."""
        leaving = {closing.session_id for closing in outbox.left.closings} | set(outbox.left.drains)
        if not leaving:
            return
        try:
            with self._hearing():
                sessions.drain(leaving, leaving=True)
        except DATABASE_AWAY as error:
            logger.warning("Sessions that are to end could not be held back: %s", error)
            outbox.away = True
        except Exception:
            # What was taken in must be answered, and what is left not be lost.
            logger.exception("Sessions that are to end could not be held back.")

    def _hand_over(self, inbox: Inbox, held: Held, outbox: Outbox) -> None:
        """What others have done to the workers here and to their tasks. What a failure loses, the next tick finds.

        After what came in: a task that its worker has just given back is not to be sent to it once more.
        """
        if inbox.wanted:
            outbox.assignments += handover.in_full(inbox.wanted, held)
        if inbox.announced:
            outbox.assignments += handover.announced(inbox.announced, held)
        if inbox.tick and held and not outbox.lease_lost:
            spoken_of = inbox.spoken_of() | outbox.left.spoken_of()
            assignments, outbox.unheard = self._comparison.run(held, spoken_of)
            outbox.assignments += assignments

    def _dispatch(self, inbox: Inbox, outbox: Outbox) -> None:
        self._dispatcher.hear(inbox.routes, inbox.keys)
        # Elsewhere, perhaps unheard: that matters for ready tasks only, and the poll has told which there are.
        changed_unheard = inbox.tick and not self._dispatcher.has_seen_all
        roster_changed = inbox.roster or changed_unheard or bool(inbox.attachments)
        result = self._dispatcher.run_pass(roster_changed)
        counters.count(counters.assigned, [assignment.task.name for assignment in result.assignments])
        outbox.assignments += result.assignments
        self._has_more = result.more
        outbox.more = outbox.more or result.more

    def _next_promotion(self, inbox: Inbox) -> datetime | None:
        """Asked for only when it may have changed: who has just been given a task waits for the answer."""
        if inbox.tick or inbox.scheduled or self._schedule_changed:
            self._schedule_changed = False  # before it is asked: results taken in beside may change it meanwhile
            self._promote_at = maintenance.next_promotion()
        return self._promote_at

    @contextmanager
    def _hearing(self) -> Iterator[None]:
        """Keep what is committed until the end, and hear it then, though something failed after it. Routes, roster
        and schedule are for this process to deal with, the rest for all."""
        rings: list[doorbell.Ring] = []
        try:
            with doorbell.held() as rings:
                yield
        finally:
            news = doorbell.merged(rings)
            self._dispatcher.hear(news.routes, news.keys)
            self._schedule_changed = self._schedule_changed or news.scheduled
            if others := replace(news, routes=frozenset(), roster=False, keys=False, scheduled=False):
                doorbell.deliver(others)


def _perform(node_id: UUID, inbox: Inbox, now: datetime) -> list[Verdict]:
    """Every verb once, over all that there is for it."""
    verdicts: list[Verdict] = []
    if inbox.attachments:
        sessions.attach(node_id, inbox.attachments, now)
    if not inbox.is_plain():
        lifecycle.lock(*inbox.concerned())
    if inbox.reports:
        verdicts = lifecycle.finish(inbox.reports, now)
    if inbox.signs:
        lifecycle.prolong(inbox.signs, now)
    if inbox.releases:
        lifecycle.release(inbox.releases, now)
    for session_id, max_outstanding in inbox.capacities:
        sessions.set_capacity(session_id, max_outstanding)
    if inbox.drains:
        sessions.drain(inbox.drains, leaving=True)
    return verdicts
