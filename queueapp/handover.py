"""What others have done to the workers of this process and their tasks: read from the rows, before it is told."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Collection, Mapping, Sequence, Set
from dataclasses import replace
from uuid import UUID

from queueapp import database, statements
from queueapp.dispatch import Assignment
from queueapp.domain.payloads import json_text
from queueapp.domain.states import Outcome, SessionState
from queueapp.doorbell import Revoked, Ring
from queueapp.lifecycle import Assigned, data_unless_large
from queueapp.models import Attempt, WorkerSession
from queueapp.protocol import CloseCode
from queueapp.ready import IN_ORDER
from queueapp.statements import NAMED, Given, Returned

COMPARED_AT_ONCE = 1000
"""How many tasks a poll compares that look right, so that it stays short."""

SENT_AT_ONCE = 5000
"""How many tasks that were not heard of a poll hands over: a tenth of a second."""

POLLS_A_ROLL_CALL = 10
"""Of how many polls one asks after each session by its name, and the others only whether all are there."""

Held = Mapping[UUID, Mapping[UUID, int]]
"""What the workers of this process have been sent: session → task → attempt."""


_TASKS = Given("told", task_id="uuid")
_ASSIGNED = Returned(Assigned)


def announced(task_ids: Collection[UUID], held: Held) -> list[Assignment]:
    """Of the tasks that another process says it has assigned here, those that the rows confirm. Large data is left
    out."""
    return _unsent(task_ids, held, data_unless_large("task.data"))


def in_full(task_ids: Collection[UUID], held: Held) -> list[Assignment]:
    """The tasks that workers here have now room for, with their data whatever its size."""
    return _unsent(task_ids, held, "task.data")


class Comparison:
    """The slow poll behind what is announced, revoked, drained and closed: what this process has sent against the
    rows. News is lost between processes, and within one when the answer to a commit is."""

    def __init__(self, node_id: UUID) -> None:
        self._node_id = node_id
        self._compared_until = UUID(int=0)
        self._polls = 0

    def run(self, held: Held, spoken_of: Set[tuple[UUID, UUID]]) -> tuple[list[Assignment], Ring]:
        """What these sessions were assigned and not sent, and what else became of them and of what they were sent.

        Sessions whose number of tasks is not what was sent are looked at now; the others in turns, for as many
        tasks may have been missed as were taken away. `spoken_of`: (session, task) that the sessions have just
        ended themselves; what `held` says of these is past.
        """
        looked_at = self._in_turn(held)
        if len(looked_at) < len(held):
            counts = _counts(self._node_id)
            looked_at |= {i for i, tasks in held.items() if tasks and counts.get(i) != len(tasks)}
            looked_at |= {i for i in counts if i in held and not held[i]}
        compared = {session_id: held[session_id] for session_id in looked_at}
        rows = _attempts(compared)
        sent = {(session_id, *task) for session_id, tasks in compared.items() for task in tasks.items()}
        unsent = {task_id for session_id, task_id, _ in rows - sent if (session_id, task_id) not in spoken_of}
        lost = [attempt for attempt in sent - rows if attempt[:2] not in spoken_of]
        ring = Ring(revoked=_revoked(sorted(lost)), foreign=True)
        if self._are_some_missing(held):
            ring = replace(_ended(held), revoked=ring.revoked)
        return announced(sorted(unsent)[:SENT_AT_ONCE], held) if unsent else [], ring

    def _are_some_missing(self, held: Held) -> bool:
        """Whether some of the sessions may not be online any more. Where as many are as there should be, all are,
        but for a session that was left behind and stands in for another: a roll call finds that one."""
        self._polls += 1
        online = WorkerSession.objects.online().filter(node=self._node_id).count()
        return online != len(held) or self._polls % POLLS_A_ROLL_CALL == 0

    def _in_turn(self, held: Held) -> set[UUID]:
        """The next sessions by id, that hold about as many tasks as may be compared at once."""
        ids = sorted(session_id for session_id, tasks in held.items() if tasks)
        turn, tasks = set(), 0
        for session_id in ids[bisect(ids, self._compared_until) :]:
            turn.add(session_id)
            tasks += len(held[session_id])
            if tasks >= COMPARED_AT_ONCE and session_id != ids[-1]:
                self._compared_until = session_id
                return turn
        self._compared_until = UUID(int=0)
        return turn


def _counts(node_id: UUID) -> dict[UUID, int]:
    """How many tasks are held by those sessions of the node that hold some."""
    rows = statements.execute(
        """
        SELECT task.worker_id, COUNT(*) FROM queueapp_task AS task
        JOIN queueapp_workersession AS session ON session.id = task.worker_id
        WHERE session.node_id = %s AND session.gone_at IS NULL AND task.worker_id IS NOT NULL
        GROUP BY task.worker_id
        """,
        [database.adapt(node_id)],
    )
    return {database.as_uuid(session_id): count for session_id, count in rows}


def _attempts(session_ids: Collection[UUID]) -> set[tuple[UUID, UUID, int]]:
    """(session, task, number) of the attempts that are under way."""
    if not session_ids:
        return set()
    rows = statements.rows_of(
        session_ids, f"SELECT worker_id, id, attempt FROM queueapp_task WHERE worker_id IN ({NAMED})"
    )
    return {(database.as_uuid(row[0]), database.as_uuid(row[1]), row[2]) for row in rows}


def _ended(held: Held) -> Ring:
    """The sessions that others have closed or asked to leave. One that has no row yet is about to get it."""
    rows = statements.rows_of(
        held,
        f"""
        SELECT id, state, close_code, close_reason FROM queueapp_workersession
        WHERE id IN ({NAMED}) AND state <> 'online' ORDER BY id
        """,
    )
    closed, drained = [], []
    for session_id, state, code, reason in rows:
        if state == SessionState.GONE:
            closed.append((database.as_uuid(session_id), code or CloseCode.GOING_AWAY, reason))
        else:
            drained.append(database.as_uuid(session_id))
    return Ring(drained=tuple(drained), closed=tuple(closed), foreign=True)


def _revoked(lost: Sequence[tuple[UUID, UUID, int]]) -> tuple[Revoked, ...]:
    """These attempts have ended; how, their rows say."""
    if not lost:
        return ()
    ended = Attempt.objects.filter(task__in={task_id for _, task_id, _ in lost})
    outcomes = {
        (task, number): outcome for task, number, outcome in ended.values_list("task", "number", "outcome")
    }
    return tuple(
        Revoked(session_id, task_id, attempt, outcomes.get((task_id, attempt), str(Outcome.DONE)))
        for session_id, task_id, attempt in lost
    )


def _unsent(task_ids: Collection[UUID], held: Held, data: str) -> list[Assignment]:
    """In the contract's order, in which their workers are to be told of them. Written out: as objects of the ORM
    each took 60 us, and another process assigns as many as it can."""
    columns = ("id", "worker_id", "route_id", "name", data, *Assigned._fields[5:])
    statement = f"""
        WITH {_TASKS.table} SELECT {_ASSIGNED.columns(*columns)}
        FROM told JOIN queueapp_task AS task ON task.id = told.task_id WHERE task.state = 'assigned'
        ORDER BY {IN_ORDER}
        """
    rows = _ASSIGNED.rows(statement, [_TASKS.rows((task_id,) for task_id in task_ids)])
    unsent = {
        task.task_id: task
        for task in rows
        if task.session_id in held and held[task.session_id].get(task.task_id) != task.attempt
    }
    attrs = _attrs_of({task.route_id for task in unsent.values()})
    return [Assignment(task, attrs[task.route_id]) for task in unsent.values()]


def _attrs_of(route_ids: Collection[UUID]) -> dict[UUID, str]:
    """As JSON text."""
    if not route_ids:
        return {}
    rows = statements.rows_of(route_ids, f"SELECT id, attrs FROM queueapp_route WHERE id IN ({NAMED})")
    return {database.as_uuid(route_id): json_text(database.as_json(attrs)) for route_id, attrs in rows}
