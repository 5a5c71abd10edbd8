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
from uuid import UUID

import msgspec
from django.db import transaction

from queueapp import database, doorbell, lifecycle, naming, statements
from queueapp.conf import config
from queueapp.domain.errors import NodeStopped
from queueapp.domain.states import Outcome, SessionState
from queueapp.models import ApiKey, Node, WorkerSession
from queueapp.protocol import CloseCode
from queueapp.querysets import WorkerSessionQuerySet
from queueapp.registration import Offer, Options
from queueapp.statements import Given

ENDED_AT_ONCE = 50
"""Nobody is assigned anything meanwhile, and they may hold thousands of tasks."""

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
        for outcome in sorted({by_id[session_id].outcome for session_id in ended}):
            lifecycle.rescue((i for i in ended if by_id[i].outcome is outcome), outcome, now)
        doorbell.ring(roster=bool(ended))
        return ended


def disconnect(session_ids: Collection[UUID], now: datetime) -> set[UUID]:
    """An operator's word: end the sessions, release their tasks uncounted, close with 4409."""
    ended: set[UUID] = set()
    for part in database.parts(sorted(session_ids), ENDED_AT_ONCE):
        ended |= _disconnect(part, now)
    return ended


@database.retried
def _disconnect(session_ids: Collection[UUID], now: datetime) -> set[UUID]:
    reason = "Disconnected by an operator."
    code = CloseCode.DISCONNECTED
    with database.brief_transaction(database.DISPATCH_LOCK):
        ended = close([Closing(i, Outcome.RELEASED, code, reason) for i in session_ids], now)
        doorbell.ring(closed=tuple((session_id, int(code), reason) for session_id in sorted(ended)))
        return ended


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


def reap_dead_nodes(now: datetime) -> int:
    """End the nodes whose lease is over, and release what their workers held: the server let go of them."""
    with transaction.atomic(savepoint=False):
        dead = list(Node.objects.dead(now).order_by("id").select_for_update())
        reap(dead, now)
        return len(dead)


def reap(nodes: Sequence[Node], now: datetime) -> None:
    """The sessions of all the nodes in one go: node by node they would not be locked in the order of their ids."""
    if not nodes:
        return
    Node.objects.filter(pk__in=[node.pk for node in nodes]).update(stopped_at=now)
    sessions = WorkerSession.objects.attached().filter(node__in=nodes).values_list("id", flat=True)
    reason = "The server process ended."
    close([Closing(i, Outcome.RELEASED, CloseCode.RESTART, reason) for i in sessions], now)


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
