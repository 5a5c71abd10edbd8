"""The one exit for news, after commit. Messages carry ids, not truth: who hears one reads the rows.

A doorbell may be lost: whoever depends on one also polls slowly.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
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
    room or the queues have changed; `scheduled`: something waits for a time; `revoked` attempts; `drained` and `closed` sessions, the latter with a
    close code and a reason."""

    routes: frozenset[UUID] = frozenset()
    ended: frozenset[UUID] = frozenset()
    roster: bool = False
    scheduled: bool = False
    revoked: tuple[Revoked, ...] = ()
    drained: tuple[UUID, ...] = ()
    closed: tuple[tuple[UUID, int, str], ...] = ()

    def __bool__(self) -> bool:
        return any(getattr(self, field.name) for field in fields(self))


Listener = Callable[[Ring], None]
_listeners: list[Listener] = []


def listen(listener: Listener) -> Callable[[], None]:
    """Call `listener` with every ring of this process, on the thread that committed. Returns the undoing."""
    _listeners.append(listener)
    return lambda: _listeners.remove(listener)


def ring(
    *,
    routes: set[UUID] | frozenset[UUID] = frozenset(),
    ended: set[UUID] | frozenset[UUID] = frozenset(),
    roster: bool = False,
    scheduled: bool = False,
    revoked: tuple[Revoked, ...] = (),
    drained: tuple[UUID, ...] = (),
    closed: tuple[tuple[UUID, int, str], ...] = (),
) -> None:
    """Tell the listeners once the transaction is committed; a transaction rolled back tells nobody."""
    news = Ring(frozenset(routes), frozenset(ended), roster, scheduled, revoked, drained, closed)
    if news:
        transaction.on_commit(lambda: _deliver(news), robust=True)


def _deliver(news: Ring) -> None:
    for listener in tuple(_listeners):
        listener(news)
