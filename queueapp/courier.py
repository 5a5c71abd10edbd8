"""Delivers callbacks, in any server process: one courier each, on its event loop, with its own database thread.

It is woken by the doorbell: by a task that has ended here, or by the tick where something is due that nobody has
delivered. Whether it works, waits or hangs, no pass of the hub waits for it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar
from uuid import UUID

from django.db import connections

from queueapp import callbacks, doorbell
from queueapp.callbacks import Result
from queueapp.database import DATABASE_AWAY, now
from queueapp.letters import Letter, letter
from queueapp.posting import Answer, Poster

logger = logging.getLogger(__name__)
T = TypeVar("T")

AT_ONCE = 64
"""Attempts under way in one process."""
RETRY_SECONDS = 0.5
GRACE_SECONDS = 5.0
"""For the attempts under way when the process ends; what is not answered then is given back."""

UNWRITTEN = "The task could not be written as JSON; the server's log says why."


class Courier:
    """Created and used on one event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="courier-database")
        self._poster = Poster(AT_ONCE)
        self._due = asyncio.Event()
        self._under_way: dict[UUID, tuple[Letter, asyncio.Task[None]]] = {}
        self._results: list[Result] = []
        self._unlisten: Callable[[], None] = lambda: None
        self._task: asyncio.Task[None] | None = None
        self._stopping = False

    def start(self) -> None:
        self._unlisten = doorbell.listen(self._overhear)
        self._task = self._loop.create_task(self._run(), name="courier")

    async def stop(self, grace_seconds: float = GRACE_SECONDS) -> None:
        """Begin nothing more; what is under way may be answered for a while, and is then left to others."""
        self._unlisten()
        self._stopping = True
        self._due.set()
        if self._task is not None:
            await self._task
        posts = [post for _, post in self._under_way.values()]
        if posts:
            _, late = await asyncio.wait(posts, timeout=grace_seconds)
            for post in late:
                post.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        broken_off = [(sent.delivery_id, sent.attempt) for sent, _ in self._under_way.values()]
        with suppress(*DATABASE_AWAY):
            await self._in_thread(lambda: _put_down(self._results, broken_off))
        await self._poster.close()
        self._executor.shutdown(wait=True)

    def _overhear(self, news: doorbell.Ring) -> None:
        """On the thread that committed."""
        if news.callbacks:
            try:
                self._loop.call_soon_threadsafe(self._due.set)
            except RuntimeError:  # the loop was closed without stopping the courier
                self._unlisten()

    async def _run(self) -> None:
        self._due.set()
        while True:
            await self._due.wait()
            self._due.clear()
            if self._stopping:
                return
            results, self._results = self._results, []
            try:
                await self._turn(results)
            except Exception as error:
                # Nothing is lost: what is not written down is claimed again when its lease is over.
                self._results = results + self._results
                if isinstance(error, DATABASE_AWAY):
                    logger.warning("The database is away: %s", error)
                else:
                    logger.exception("A turn of the courier failed.")
                self._due.set()
                await asyncio.sleep(RETRY_SECONDS)

    async def _turn(self, results: list[Result]) -> None:
        room = AT_ONCE - len(self._under_way)
        busy = Counter(sent.host for sent, _ in self._under_way.values())
        letters = await self._in_thread(lambda: _claimed(results, room, busy))
        for each in letters:
            post = self._loop.create_task(self._deliver(each))
            self._under_way[each.delivery_id] = each, post

    async def _deliver(self, sent: Letter) -> None:
        try:
            answer = await self._poster.post(sent.url, sent.headers, sent.body)
        except Exception as error:
            logger.exception("Callback %s could not be posted.", sent.delivery_id)
            answer = Answer(None, f"It could not be posted: {type(error).__name__}.")
        if answer.error:
            logger.info("Callback %s, attempt %d: %s", sent.delivery_id, sent.attempt, answer.error)
        self._results.append(Result(sent.delivery_id, sent.attempt, sent.created_at, answer.status, answer.error))
        del self._under_way[sent.delivery_id]
        self._due.set()

    async def _in_thread(self, work: Callable[[], T]) -> T:
        return await self._loop.run_in_executor(self._executor, _without_keeping_a_connection, work)


def _claimed(results: list[Result], room: int, busy: Counter[str]) -> list[Letter]:
    """On the database thread: the letters to deliver now."""
    at = now()
    letters, unwritten = [], []
    for delivery in callbacks.turn(results, room, busy, at):
        try:
            letters.append(letter(delivery, at))
        except Exception:
            # Nor is it to hold up those that were claimed with it.
            logger.exception("Callback %s could not be written.", delivery.id)
            unwritten.append(Result(delivery.id, delivery.attempts, delivery.created_at, None, UNWRITTEN))
    callbacks.settle(unwritten, at)
    return letters


def _put_down(results: list[Result], broken_off: list[tuple[UUID, int]]) -> None:
    at = now()
    callbacks.settle(results, at)
    callbacks.give_back(broken_off, at)


def _without_keeping_a_connection(work: Callable[[], T]) -> T:
    """Between turns, which may be far apart, the connection is others' to use."""
    try:
        return work()
    finally:
        connections.close_all()


_courier: Courier | None = None


def start() -> None:
    """Deliver from this process, on the running event loop."""
    global _courier
    _courier = Courier()
    _courier.start()


async def stop() -> None:
    """Stop delivering in order, if this process does."""
    global _courier
    if _courier is not None:
        courier, _courier = _courier, None
        await courier.stop()
