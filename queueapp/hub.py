"""One per process: the sockets of its workers, gathered for the passes and told what they decided.

The event loop only puts things into the inbox, and sends. A thread of the hub's own runs the passes, and one
beside it takes in results while there is much to do. While a pass runs the next inbox fills, so that batches grow
with the load and an idle queue answers at once.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import TypeVar
from uuid import UUID

from django.db import connection
from django.utils import timezone

from queueapp import counters, doorbell, sessions
from queueapp.announcing import announce
from queueapp.conf import config
from queueapp.database import DATABASE_AWAY, is_postgresql, now
from queueapp.domain.states import Outcome
from queueapp.handover import Held
from queueapp.inbox import Inbox
from queueapp.link import Link
from queueapp.passes import Outbox, Pass
from queueapp.protocol import RESTART_REASON, Cancel, CloseCode, DrainNotice
from queueapp.relay import Relay
from queueapp.rollups import Counted
from queueapp.sessions import Attachment, Closing

logger = logging.getLogger(__name__)
T = TypeVar("T")

RETRY_SECONDS = 0.5
"""How long to wait before a pass is tried again while the database is away."""

SHORTEST_PAUSE_SECONDS = 0.01

GATHER_FROM = 16
GATHER_SECONDS = 0.004
"""A pass costs some milliseconds whatever it carries. After one that carried so many results and assignments the
next waits a little for more to come, which brings half as much again with single frames; when there is little to
do, nobody waits."""

TELLING_AFTER_SECONDS = 0.008
"""At most. A pass that follows at once begins with brief statements, after each of which it would wait for the
interpreter while hundreds of workers are told of the pass before. So they are told once PostgreSQL has long ones
to work on, which brings a tenth. With SQLite there is no other process that could work meanwhile."""


class Hub:
    """Created and used on one event loop. `inbox` is open to consumers; `wake()` tells that it has changed."""

    def __init__(self) -> None:
        self.inbox = Inbox()
        self._links: dict[UUID, Link] = {}
        self._wake = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="hub-database")
        self._beside = ThreadPoolExecutor(1, thread_name_prefix="hub-results")
        self._pass: Pass | None = None
        self._node_id: UUID | None = None
        self._counted_before: Counted | None = Counted.so_far()
        self._next_tick = 0.0
        self._next_promotion: datetime | None = None
        self._gathers = False
        self._untold: tuple[Outbox, list[Link]] | None = None
        """The last pass, where another follows at once."""
        self._task: asyncio.Task[None] | None = None
        self._unlisten: Callable[[], None] = lambda: None
        self._relay = Relay()
        self._waiting: list[asyncio.Future[None]] = []
        self._asking: list[Link] = []
        self.leaving = False
        self._empty = asyncio.Event()
        self._stopping = False

    # ---- life

    def start(self) -> None:
        """Enter this process as a node and run passes until `stop`."""
        self._unlisten = doorbell.listen(self._overhear)
        self._relay.start()
        self._task = self._loop.create_task(self._run(), name="hub")

    async def stop(self, grace_seconds: float) -> None:
        """Take no more tasks, let the workers finish for a while, then give back what is left, uncounted, and
        close with 1012."""
        self.leaving = True
        await self._drain(grace_seconds)
        links = list(self._links.values())
        for link in links:
            self.detach(link.session_id, Outcome.RELEASED, CloseCode.RESTART, RESTART_REASON)
        self._stopping = True
        self.wake()
        if self._task is not None:
            await self._task
        _release(self._waiting)
        self._unlisten()
        # The sockets are still open; what comes in from now on is for nobody.
        inbox, self.inbox = self.inbox, Inbox()
        try:
            await self._in_thread(lambda: self._finish(inbox))
        except DATABASE_AWAY:
            logger.warning("The database is away; another process takes the tasks back when the lease is over.")
        await _close_all(links, RESTART_REASON)
        await self._relay.stop()
        self._executor.shutdown(wait=True)
        self._beside.shutdown(wait=True)

    async def _drain(self, grace_seconds: float) -> None:
        """Until no worker holds anything, or the grace is over."""
        self.inbox.drains.extend(self._links)
        self.wake()
        self._note_whether_empty()
        with suppress(TimeoutError):
            async with asyncio.timeout(grace_seconds):
                await self._empty.wait()

    def _note_whether_empty(self) -> None:
        if self.leaving and not any(link.held for link in self._links.values()):
            self._empty.set()

    def _finish(self, inbox: Inbox) -> None:
        """On the database thread: the last inbox, and the end of the node."""
        try:
            if self._pass is not None:
                self._pass.take_in_all(inbox)
                self._pass.end()
            if self._node_id is not None:
                sessions.stop_node(self._node_id, now())
        finally:
            connection.close()

    # ---- what consumers say

    @property
    def connections(self) -> int:
        return len(self._links)

    def attach(self, link: Link, attachment: Attachment) -> None:
        link.ask_again = partial(self._ask_again, link)
        self._links[link.session_id] = link
        self.inbox.attachments.append(attachment)
        self.wake()

    def detach(self, session_id: UUID, outcome: Outcome, code: int, reason: str) -> None:
        """The connection is over: what it held goes to others from the next pass on."""
        if self._links.pop(session_id, None) is not None:
            self.inbox.closings.append(Closing(session_id, outcome, code, reason))
            self.wake()
            self._note_whether_empty()

    def wake(self) -> None:
        self._wake.set()

    async def dealt_with(self) -> None:
        """Once all that is in the inbox now has been dealt with."""
        if not self._stopping:
            self._waiting.append(self._loop.create_future())
            self.wake()
            await self._waiting[-1]

    def _ask_again(self, link: Link, task_ids: Iterable[UUID]) -> None:
        """A worker reads again: read for it from the rows what there was no room to keep."""
        self._asking.append(link)
        self.inbox.wanted.extend(task_ids)
        self.wake()

    # ---- what the doorbell says

    def _overhear(self, news: doorbell.Ring) -> None:
        """On the thread that committed."""
        try:
            self._loop.call_soon_threadsafe(self._hear, news)
        except RuntimeError:  # the loop was closed without stopping the hub, as tests may do
            self._unlisten()

    def _hear(self, news: doorbell.Ring) -> None:
        self._relay.send(news)
        self.inbox.routes.extend(news.routes)
        self.inbox.roster = self.inbox.roster or news.roster
        self.inbox.scheduled = self.inbox.scheduled or (news.scheduled and not news.foreign)
        self.inbox.keys = self.inbox.keys or news.keys
        self.inbox.announced.extend(news.assigned if news.foreign else ())
        if news.revoked or news.drained or news.closed:
            self._tell_the_untold()  # Nobody can be told that a task is not theirs any more before it was theirs.
        self._revoke(news.revoked)
        for session_id in news.drained:
            if (link := self._links.get(session_id)) and not link.drains:
                link.drains = True
                link.tell([DrainNotice(RESTART_REASON if self.leaving else "Asked to finish and leave.")])
        self._close(news.closed)
        # The process where it happened dispatches; this one needs to know only for when it has room.
        dispatches = news.routes or news.roster or news.keys or news.scheduled
        if self.inbox.announced or (dispatches and not news.foreign):
            self.wake()

    def _revoke(self, attempts: Iterable[doorbell.Revoked]) -> None:
        for revoked in attempts:
            # News of what the tick has found already is no news.
            if (link := self._links.get(revoked.session_id)) and revoked.task_id in link.held:
                was_sent = link.was_sent(revoked.task_id)
                link.let_go(revoked.task_id, revoked.attempt)
                if was_sent:
                    link.tell([Cancel(str(revoked.task_id), revoked.attempt, revoked.reason)])

    def _close(self, sessions: Iterable[tuple[UUID, int, str]]) -> None:
        for session_id, code, reason in sessions:
            if link := self._links.pop(session_id, None):
                self._loop.create_task(_close(link, code, reason))

    # ---- passes

    async def _run(self) -> None:
        while not self._stopping:
            try:
                await self._turn()
            except DATABASE_AWAY as error:
                logger.warning("The database is away: %s", error)
                await asyncio.sleep(RETRY_SECONDS)
            except Exception:
                logger.exception("A turn of the hub failed.")
                await asyncio.sleep(RETRY_SECONDS)
        self._tell_the_untold()

    async def _turn(self) -> None:
        if self._pass is None:
            await self._enter()
        await self._wait()
        if self._gathers:
            await asyncio.sleep(GATHER_SECONDS)
        inbox, self.inbox = self.inbox, Inbox()
        waiting, self._waiting = self._waiting, []
        asking, self._asking = self._asking, []
        self._wake.clear()
        if time.monotonic() >= self._next_tick:
            inbox.tick = True
            self._next_tick = time.monotonic() + config().poll_interval_seconds
        try:
            held = self._held() if inbox.tick or inbox.announced or inbox.wanted else None
            passing = self._in_thread(lambda: self._passed(inbox, held))
            if self._untold is not None and is_postgresql():
                await asyncio.wait([passing], timeout=TELLING_AFTER_SECONDS)
            self._tell_the_untold()
            outbox = await passing
            if outbox.left:
                self.inbox = outbox.left.followed_by(self.inbox)
            if outbox.left.brings_anything():
                waiting, self._waiting = [], waiting + self._waiting
            if outbox.left.wanted:
                asking, self._asking = [], asking + self._asking
        except DATABASE_AWAY:
            self.inbox = inbox.followed_by(self.inbox)
            waiting, self._waiting = [], waiting + self._waiting
            self._asking = asking + self._asking
            raise
        finally:
            _release(waiting)
        if outbox.lease_lost:
            await self._start_anew()
        self._next_promotion = outbox.promote_at
        goes_on = outbox.more or bool(outbox.left)
        self._gathers = not goes_on and len(outbox.verdicts) + len(outbox.assignments) >= GATHER_FROM
        self._untold = outbox, asking
        if outbox.away:
            self._tell_the_untold()
            self.wake()
            await asyncio.sleep(RETRY_SECONDS)
        elif goes_on:
            self.wake()
        else:
            self._tell_the_untold()

    def _held(self) -> Held:
        self._tell_the_untold()  # else it would be found missing, and read again
        return {session_id: dict(link.held) for session_id, link in self._links.items()}

    def _passed(self, inbox: Inbox, held: Held | None) -> Outbox:
        assert self._pass is not None
        with counters.passes.time():
            return self._pass.run(inbox, held)

    async def _enter(self) -> None:
        self._pass = await self._in_thread(self._entered)
        self.wake()

    def _entered(self) -> Pass:
        """On the database thread. A new node does not know yet whether the others are dead or were cut off from
        the database as it may have been."""
        entered_at = now()
        self._node_id = sessions.start_node(entered_at)
        counted_before, self._counted_before = self._counted_before, None
        beside = self._beside if is_postgresql() else None
        return Pass(self._node_id, sessions.lease_end(entered_at), counted_before, beside)

    async def _wait(self) -> None:
        """Until somebody wakes the hub, or the clock does."""
        seconds = self._next_tick - time.monotonic()
        if self._next_promotion is not None:
            due = (self._next_promotion - timezone.now()).total_seconds()
            if due < seconds:
                # Not at once and again: the database's clock, which decides, may be a little behind ours.
                seconds = max(due, SHORTEST_PAUSE_SECONDS)
                self._next_tick = time.monotonic() + seconds
        if seconds > 0 and not self._wake.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._wake.wait()

    def _in_thread(self, work: Callable[[], T]) -> asyncio.Future[T]:
        return self._loop.run_in_executor(self._executor, _on_a_living_connection, work)

    # ---- what workers are told

    def _tell_the_untold(self) -> None:
        """What the last pass has decided. Where another follows at once that is begun before: to tell hundreds of
        workers takes a seventh of a turn, in which the database would have nothing to do."""
        if self._untold is None:
            return
        (outbox, asking), self._untold = self._untold, None
        try:
            self._hear(outbox.unheard)
            self._send(outbox)
        except Exception:
            logger.exception("Workers could not be told what was decided; the next tick compares.")
        for link in asking:
            link.answered()

    def _send(self, outbox: Outbox) -> None:
        elsewhere = announce(outbox, self._links)
        self._relay.send(doorbell.Ring(assigned=frozenset(elsewhere)))
        self._note_whether_empty()

    async def _start_anew(self) -> None:
        """Others have taken this process for dead and given its workers' tasks away: let the workers come
        again, and enter as a new node."""
        logger.error("The lease was lost: closing %d connections and starting anew.", len(self._links))
        links, self._links = list(self._links.values()), {}
        # What they have said meanwhile is about sessions that are over, or about to be; one that attached would
        # never end.
        self.inbox = Inbox()
        await _close_all(links, "The server lost its lease.")
        await self._enter()


def _release(waiting: Iterable[asyncio.Future[None]]) -> None:
    for each in waiting:
        if not each.done():  # the connection of one that was cancelled has ended
            each.set_result(None)


def _on_a_living_connection(work: Callable[[], T]) -> T:
    """A connection that has failed is closed, so that the next try opens another."""
    try:
        return work()
    except DATABASE_AWAY:
        connection.close()
        raise


async def _close_all(links: Sequence[Link], reason: str) -> None:
    await asyncio.gather(*(_close(link, CloseCode.RESTART, reason) for link in links))


async def _close(link: Link, code: int, reason: str) -> None:
    """A socket that breaks while it is written to reports that by its own disconnect."""
    try:
        await link.close(code, reason)
    except Exception as error:
        logger.debug("A socket could not be written to: %s", error)


_hub: Hub | None = None


def current_hub() -> Hub:
    """The hub of the running event loop, started when it is first asked for."""
    global _hub
    loop = asyncio.get_running_loop()
    if _hub is None or _hub._loop is not loop:
        _hub = Hub()
        _hub.start()
    return _hub


async def stop_hub() -> None:
    """Stop the hub in order, if one runs."""
    if _hub is not None:
        await _hub.stop(config().drain_grace_seconds)
