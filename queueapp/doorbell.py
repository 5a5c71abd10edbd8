"""The one exit for news, after commit. Messages carry ids, not truth: who hears one reads the rows.

A doorbell may be lost: whoever depends on one also polls slowly.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from uuid import UUID

from django.db import transaction

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Revoked:
    """An attempt that was taken from a connected worker, which may want to stop working on it."""

    session_id: UUID
    task_id: UUID
    attempt: int
    reason: str


@dataclass(frozen=True, slots=True)
class Ring:
    """What has happened. `routes` have ready tasks; `ended` tasks are terminal; `roster`: the workers, their
    room or the queues have changed; `keys`: tasks of concurrency keys have come, ended or gone; `scheduled`:
    something waits for a time; `assigned`: tasks given to workers of other processes; `revoked` attempts;
    `drained` and `closed` sessions, the latter with a close code and a reason; `callbacks`: some are due.
    `foreign`: it happened in another process."""

    routes: frozenset[UUID] = frozenset()
    ended: frozenset[UUID] = frozenset()
    roster: bool = False
    keys: bool = False
    scheduled: bool = False
    assigned: frozenset[UUID] = frozenset()
    revoked: tuple[Revoked, ...] = ()
    drained: tuple[UUID, ...] = ()
    closed: tuple[tuple[UUID, int, str], ...] = ()
    callbacks: bool = False
    foreign: bool = False

    def __bool__(self) -> bool:
        return any(getattr(self, field.name) for field in fields(self) if field.name != "foreign")


Listener = Callable[[Ring], None]
_listeners: list[Listener] = []


class _Thread(threading.local):
    held: list[Ring] | None = None


_thread = _Thread()


def listen(listener: Listener) -> Callable[[], None]:
    """Call `listener` with every ring of this process, on the thread that committed. Returns the undoing."""
    _listeners.append(listener)
    return lambda: _listeners.remove(listener)


def ring(
    *,
    routes: Iterable[UUID] = (),
    ended: Iterable[UUID] = (),
    roster: bool = False,
    keys: bool = False,
    scheduled: bool = False,
    revoked: Iterable[Revoked] = (),
    drained: Iterable[UUID] = (),
    closed: Iterable[tuple[UUID, int, str]] = (),
    callbacks: bool = False,
) -> None:
    """Tell the listeners, or who has this thread's news `held`, once the transaction is committed; one that is
    rolled back tells nobody."""
    news = Ring(
        routes=frozenset(routes),
        ended=frozenset(ended),
        roster=roster,
        keys=keys,
        scheduled=scheduled,
        revoked=tuple(revoked),
        drained=tuple(drained),
        closed=tuple(closed),
        callbacks=callbacks,
    )
    if not news:
        return
    held = _thread.held
    transaction.on_commit(lambda: _pass_on(news, held), robust=True)


def _pass_on(news: Ring, held: list[Ring] | None) -> None:
    """`held`: where news was kept when this rang. Nobody looks into a list any more that is no longer kept."""
    if held is None or held is not _thread.held:
        deliver(news)
    else:
        held.append(news)


@contextmanager
def held() -> Iterator[list[Ring]]:
    """Keep in a list instead what rings on this thread and is committed. Who holds it acts on it itself, and
    delivers what concerns others. What rings here and is committed later is delivered."""
    _thread.held = []
    try:
        yield _thread.held
    finally:
        _thread.held = None


def merged(rings: Iterable[Ring]) -> Ring:
    """All the news in one."""
    rings = list(rings)
    return Ring(
        routes=frozenset().union(*(each.routes for each in rings)),
        ended=frozenset().union(*(each.ended for each in rings)),
        roster=any(each.roster for each in rings),
        keys=any(each.keys for each in rings),
        scheduled=any(each.scheduled for each in rings),
        assigned=frozenset().union(*(each.assigned for each in rings)),
        revoked=tuple(revoked for each in rings for revoked in each.revoked),
        drained=tuple(session_id for each in rings for session_id in each.drained),
        closed=tuple(closed for each in rings for closed in each.closed),
        callbacks=any(each.callbacks for each in rings),
    )


def deliver(news: Ring) -> None:
    """Tell the listeners now. One that fails keeps nobody else from hearing."""
    for listener in tuple(_listeners):
        try:
            listener(news)
        except Exception:
            logger.exception("A listener failed on %r.", news)
