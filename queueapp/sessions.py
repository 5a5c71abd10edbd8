"""Worker sessions and the server processes that hold them: attach, drain, close; leases and their reaping.

What has a session be given no more tasks, or fewer, is done under the dispatch lock: who decides on assignments
has no need to lock the sessions that it chooses.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto
from functools import partial
from uuid import UUID

import msgspec
from django.db import transaction
from django.db.models import Q

from queueapp import database, doorbell, lifecycle, naming, statements
from queueapp.conf import config
from queueapp.domain.errors import NodeStopped
from queueapp.domain.states import Outcome, SessionState
from queueapp.models import ApiKey, Node, WorkerSession
from queueapp.protocol import CloseCode
from queueapp.querysets import WorkerSessionQuerySet
from queueapp.registration import Offer, Options
from queueapp.statements import Given

ENDED_AT_ONCE = 200
TASKS_AT_ONCE = 1000
"""Of sessions that end, in one transaction: nobody is assigned anything meanwhile, and a task takes a seventh of a
millisecond. With sixty thousand of them, as when a proxy in front of a thousand workers dies, PostgreSQL took the
process for a frozen one and undid it, again and again."""

ORPHANS_LOCK = 0x77_71_02

_OFFERED = Given("offered", session_id="uuid", name="text", filter="jsonb", extra="jsonb")


@dataclass(frozen=True, slots=True)
class Attachment:
    """A worker that has registered. `remote` is its address as text; `v1`: it hears more than tasks, if known."""

    session_id: UUID
    options: Options
    offers: tuple[Offer, ...]
    api_key: ApiKey | None = None
    remote: str = ""
    v1: bool | None = None


@dataclass(frozen=True, slots=True)
class Closing:
    """The end of a session: how the attempts it held ended, and the WebSocket close code and reason."""

    session_id: UUID
    outcome: Outcome
    code: int
    reason: str = ""


# ---- sessions


def attach(node_id: UUID, attachments: Sequence[Attachment], now: datetime) -> None:
    """Store the sessions with their subscriptions: from now on they take part in choices.

    NodeStopped: others have reaped this node. A session of a node that is not there would never be closed.
    """
    with transaction.atomic(savepoint=False):
        if not Node.objects.running().filter(pk=node_id).select_for_update().values_list("id"):
            raise NodeStopped
        # Those of a transaction that was committed, though its answer was lost, come again.
        given = {attachment.session_id for attachment in attachments}
        stored = set(WorkerSession.objects.filter(pk__in=given).values_list("id", flat=True))
        attachments = [attachment for attachment in attachments if attachment.session_id not in stored]
        naming.make_queues({offer.subscription.name for attachment in attachments for offer in attachment.offers})
        WorkerSession.objects.bulk_create(
            WorkerSession(
                id=attachment.session_id,
                name=attachment.options.name,
                node_id=node_id,
                api_key=attachment.api_key,
                reach=attachment.api_key and [attachment.api_key.task_globs, attachment.api_key.bounds],
                max_outstanding=attachment.options.max_outstanding,
                version=attachment.options.version,
                remote=attachment.remote,
                v1=attachment.v1,
                connected_at=now,
                idle_since=now,
            )
            for attachment in attachments
        )
        statements.execute(
            f"WITH {_OFFERED.table} INSERT INTO queueapp_subscription (session_id, name, filter, extra) "
            "SELECT session_id, name, filter, extra FROM offered",
            [_OFFERED.rows(_offered(attachments))],
        )
        doorbell.ring(roster=True)


def _offered(attachments: Iterable[Attachment]) -> Iterator[tuple[UUID, str, dict[str, list[str]], msgspec.Raw]]:
    """Rows, in the order in which they were offered. A worker may have a thousand, and a fleet of them comes back
    at once: as objects of the ORM one took five times as long."""
    for attachment in attachments:
        for offer in attachment.offers:
            filter = {criterion: sorted(values) for criterion, values in offer.subscription.criteria}
            yield attachment.session_id, offer.subscription.name, filter, msgspec.Raw(offer.extra.encode())


@database.retried
def drain(session_ids: Collection[UUID], leaving: bool = False) -> set[UUID]:
    """Give the sessions no more tasks; what they hold they may finish. Returns those that were online.

    `leaving`: not by an operator's word, but because the workers or their process leave: nobody resumes them.
    """
    with database.brief_transaction(database.DISPATCH_LOCK):
        attached = WorkerSession.objects.attached().filter(pk__in=list(session_ids)).order_by("id")
        if leaving:
            attached = attached.filter(leaving=False)  # the others are asked so again and again while they wait
        states = dict(attached.select_for_update().values_list("id", "state"))
        drained = {session_id for session_id, state in states.items() if state == SessionState.ONLINE}
        rows = WorkerSession.objects.filter(pk__in=list(states) if leaving else drained)
        rows.update(state=str(SessionState.DRAINING), leaving=leaving)
        doorbell.ring(roster=bool(drained), drained=tuple(sorted(drained)))
        return drained


@database.retried
def resume(session_ids: Collection[UUID]) -> set[UUID]:
    """Give sessions that an operator has drained tasks again. Returns those for which that can be done.

    It cannot for who is leaving, nor for who speaks `workqueue.v1`: that worker was told to finish and leave, and
    no message takes that back. A task that it were given now could be lost with its connection.
    """
    with database.brief_transaction():
        resumed = _lock(WorkerSession.objects.resumable().filter(pk__in=list(session_ids)))
        WorkerSession.objects.filter(pk__in=resumed).update(state=str(SessionState.ONLINE))
        doorbell.ring(roster=bool(resumed))
        return resumed


def set_capacity(session_id: UUID, max_outstanding: int) -> None:
    """Change how many tasks a session may hold. What it holds beyond that it may finish."""
    with transaction.atomic(savepoint=False):
        WorkerSession.objects.attached().filter(pk=session_id).update(max_outstanding=max_outstanding)
        doorbell.ring(roster=True)


def close(closings: Iterable[Closing], now: datetime) -> set[UUID]:
    """End the sessions and give their tasks to others. Returns those that had not ended before."""
    by_id = {closing.session_id: closing for closing in closings}
    with transaction.atomic(savepoint=False):
        ended = _lock(WorkerSession.objects.attached().filter(pk__in=list(by_id)))
        causes = {(by_id[session_id].code, by_id[session_id].reason) for session_id in ended}
        for code, reason in sorted(causes):
            of_it = [i for i in ended if (by_id[i].code, by_id[i].reason) == (code, reason)]
            WorkerSession.objects.filter(pk__in=of_it).update(
                state=str(SessionState.GONE), gone_at=now, close_code=code, close_reason=reason[:200]
            )
        lifecycle.rescue({session_id: by_id[session_id].outcome for session_id in ended}, now)
        doorbell.ring(roster=bool(ended))
        return ended


def close_some(closings: Iterable[Closing], now: datetime) -> tuple[set[UUID], list[Closing]]:
    """The same, as far as one transaction may go. Returns those that have ended, and what is left for others to
    follow: until then those sessions stay, are given nothing more, and hold less from time to time."""
    closings = list(closings)
    first, left = closings[:ENDED_AT_ONCE], closings[ENDED_AT_ONCE:]
    outcomes = {closing.session_id: closing.outcome for closing in first}
    with transaction.atomic(savepoint=False):
        named = WorkerSession.objects.attached().filter(pk__in=[closing.session_id for closing in closings])
        # Those that end and those that are to be given nothing more in one go: by id, as everybody locks them.
        _lock(named.filter(Q(pk__in=list(outcomes)) | Q(leaving=False)))
        held = lifecycle.held(outcomes, TASKS_AT_ONCE + 1)
        if len(held) <= TASKS_AT_ONCE:
            ended = close(first, now)
        else:
            lifecycle.rescue(outcomes, now, held[:TASKS_AT_ONCE])
            ended, left = set(), closings
        if left:
            named.filter(leaving=False).update(state=str(SessionState.DRAINING), leaving=True)
        return ended, left


def disconnect(session_ids: Collection[UUID], now: datetime) -> set[UUID]:
    """An operator's word: end the sessions, release their tasks uncounted, close with 4409. Returns those that had
    not ended.

    Those that are too many for one transaction are given nothing more, and end once that of the caller's, if there
    is one, is committed. Whoever does not live to see to that leaves them to be disconnected again.
    """
    reason = "Disconnected by an operator."
    closings = [Closing(i, Outcome.RELEASED, CloseCode.DISCONNECTED, reason) for i in sorted(session_ids)]
    ended, left = _disconnect(closings, now)
    if not left:
        return ended
    others = WorkerSession.objects.attached().filter(pk__in=[closing.session_id for closing in left])
    to_end = set(others.values_list("id", flat=True))
    transaction.on_commit(partial(_disconnect_all, left, now))
    return ended | to_end


def _disconnect_all(left: Sequence[Closing], now: datetime) -> None:
    while left:
        _, left = _disconnect(left, now)


@database.retried
def _disconnect(closings: Sequence[Closing], now: datetime) -> tuple[set[UUID], list[Closing]]:
    with database.brief_transaction(database.DISPATCH_LOCK):
        return expel_some(closings, now)


def expel_some(closings: Sequence[Closing], now: datetime) -> tuple[set[UUID], list[Closing]]:
    """`close_some` of sessions whose connections are open: they are closed where they are."""
    ended, left = close_some(closings, now)
    told = [(each.session_id, each.code, each.reason) for each in closings if each.session_id in ended]
    doorbell.ring(closed=tuple(told))
    return ended, left


# ---- nodes


@database.retried
def start_node(now: datetime) -> UUID:
    """Enter this process, with a lease. Its predecessors here that died are reaped at once."""
    host, pid = socket.gethostname(), os.getpid()
    with database.brief_transaction(database.DISPATCH_LOCK):
        reap([node for node in Node.objects.running().filter(host=host) if _is_dead(node.pid, pid)], now)
        node = Node.objects.create(host=host, pid=pid, started_at=now, lease_until=lease_end(now))
        return node.pk


def living_nodes(now: datetime) -> list[Node]:
    """The processes that serve now, as far as one can tell from here."""
    host, pid = socket.gethostname(), os.getpid()
    alive = Node.objects.running().filter(lease_until__gte=now)
    return [node for node in alive if node.host != host or not _is_dead(node.pid, pid)]


class Lease(Enum):
    """What became of a node's lease. LAPSED: it was over, but nobody had reaped the node; LOST: somebody had."""

    KEPT = auto()
    LAPSED = auto()
    LOST = auto()


def renew_lease(node_id: UUID, now: datetime) -> Lease:
    """Live on for another lease, unless others have taken this node for dead."""
    lease_until, node, at = map(database.adapt, (lease_end(now), node_id, now))
    renew = "UPDATE queueapp_node SET lease_until = %s WHERE stopped_at IS NULL AND id = %s"
    if statements.execute(f"{renew} AND lease_until >= %s RETURNING id", [lease_until, node, at]):
        return Lease.KEPT
    return Lease.LAPSED if statements.execute(f"{renew} RETURNING id", [lease_until, node]) else Lease.LOST


@database.retried
def stop_node(node_id: UUID, now: datetime) -> None:
    """An orderly end: the node's sessions are closed, their tasks released."""
    with database.brief_transaction(database.DISPATCH_LOCK):
        reap(list(Node.objects.running().filter(pk=node_id)), now)
    while _end_orphans(WorkerSession.objects.orphaned().filter(node=node_id), now):
        pass


def reap_dead_nodes(now: datetime) -> int:
    """End the nodes whose lease is over, and release what their workers held: the server let go of them."""
    with transaction.atomic(savepoint=False):
        dead = list(Node.objects.dead(now).order_by("id").select_for_update())
        reap(dead, now)
        return len(dead)


def reap(nodes: Sequence[Node], now: datetime) -> None:
    """The sessions of all the nodes in one go: node by node they would not be locked in the order of their ids.
    Those that are too many for that are left to `end_orphans`, by whoever comes to it, and given nothing more."""
    if not nodes:
        return
    Node.objects.filter(pk__in=[node.pk for node in nodes]).update(stopped_at=now)
    _close_orphans(WorkerSession.objects.attached().filter(node__in=nodes), now)


def end_orphans(now: datetime) -> bool:
    """End some of the sessions whose process has ended. Whether more are left for this process to end: for one is
    at it at a time, as they would only wait for each other."""
    with database.brief_transaction():
        return database.try_lock_until_commit(ORPHANS_LOCK) and _end_orphans(WorkerSession.objects.orphaned(), now)


@database.retried
def _end_orphans(orphans: WorkerSessionQuerySet, now: datetime) -> bool:
    with database.brief_transaction(database.DISPATCH_LOCK):
        return _close_orphans(orphans, now)


def _close_orphans(orphans: WorkerSessionQuerySet, now: datetime) -> bool:
    ids = orphans.order_by("id").values_list("id", flat=True)
    reason = "The server process ended."
    closings = [Closing(i, Outcome.RELEASED, CloseCode.RESTART, reason) for i in ids]
    _, left = close_some(closings, now)
    return bool(left)


def lease_end(now: datetime) -> datetime:
    """When a lease ends that begins now."""
    return now + timedelta(seconds=config().lease_seconds)


def _is_dead(pid: int, own_pid: int) -> bool:
    """Whether the process of an earlier node on this host is gone. Our own pid was somebody else's then."""
    if pid == own_pid:
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def _lock(sessions: WorkerSessionQuerySet) -> set[UUID]:
    return set(sessions.order_by("id").select_for_update().values_list("id", flat=True))
