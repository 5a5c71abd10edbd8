"""What must be true at every commit, and what once the faults are over and everybody had time."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any
from uuid import UUID

from tests.simulation.database import Database

if TYPE_CHECKING:
    from tests.simulation.people import Server
    from tests.simulation.world import World

THAWING_SECONDS = 0.5
"""For a server that was frozen to see what has become of its lease."""
COUNTED = ("done", "error", "lost", "timeout")

OVER_CAPACITY = """
    SELECT task.worker_id, COUNT(*), session.max_outstanding
    FROM queueapp_task AS task JOIN queueapp_workersession AS session ON session.id = task.worker_id
    GROUP BY task.worker_id HAVING COUNT(*) > session.max_outstanding
    """
HELD = "SELECT worker_id, id, attempt FROM queueapp_task WHERE worker_id IS NOT NULL"
STUCK_AND_DONE = """
    SELECT id FROM queueapp_task WHERE state = 'succeeded' AND attempt <= COALESCE(data ->> 'stuck', 0)
    """
TERMINAL = "SELECT id, state, attempt, attempts_used, result FROM queueapp_task WHERE finished_at IS NOT NULL"


ATTACHED = "SELECT id, state FROM queueapp_workersession WHERE gone_at IS NULL"


class Watch:
    """Looks at the rows after every commit."""

    def __init__(self, database: Database) -> None:
        self.wrongs: list[str] = []
        self._database = database
        self._ended: dict[str, Any] = {}
        self._changes = 0

    def after_commit(self) -> None:
        changes = self._database.connection.total_changes
        if changes == self._changes:
            return
        self._changes = changes
        query = self._database.connection.execute
        for row in query(OVER_CAPACITY):
            self.wrongs.append(f"session {row[0]} holds {row[1]} of {row[2]}")
        now = {row[0]: row for row in query(TERMINAL)}
        for task_id, row in self._ended.items():
            if now.get(task_id) != row:
                self.wrongs.append(f"a terminal task has changed: {row} is now {now.get(task_id)}")
        self._ended = now


def settled(world: World) -> bool:
    """Whether nothing is left to be done, and everybody is in place to do more."""
    return (
        len(world.servers) == world.plan.servers
        and len(world.workers) == world.plan.workers
        and all(server.hub is not None for server in world.servers)
        and not any(each.process.stopped_until + THAWING_SECONDS > world.loop.time() for each in world.servers)
        and not _attached(world)
        and not _unfinished(world)
        and not _misplaced(world)
    )


def _attached(world: World) -> list[str]:
    """Every worker has one connection that is open, and no other is taken for open."""
    attached = sorted(world.database.connection.execute(ATTACHED))
    ids = [c.session_id for c in world.connections if not c.is_over]
    if len(ids) == len(world.workers) and attached == sorted((UUID(i).hex, "online") for i in ids if i):
        return []
    return [f"{len(world.workers)} workers have open {ids}, and {attached} are attached"]


def _late(world: World) -> list[str]:
    return [f"{c.name} was told after its end: {text}" for c in world.connections for text in c.said_after_close]


def wrongs(world: World, works: dict[Server, int], seconds: float) -> list[str]:
    return [
        *(f"{task_id} {state} has not ended" for task_id, state in _unfinished(world)),
        *_misplaced(world),
        *_attached(world),
        *_late(world),
        *_acknowledged(world),
        *_sent_twice(world),
        *_budgets(world),
        *_overdue(world),
        *_busy(works, seconds),
    ]


def _unfinished(world: World) -> list[tuple[UUID, str]]:
    """The accepted tasks that are gone or have not ended, but for those that take for ever and are at it."""
    rows = world.database.connection.execute("SELECT id, state, name FROM queueapp_task")
    states = {task_id: (state, name) for task_id, state, name in rows}
    return [
        (task_id, state)
        for task_id in world.accepted
        for state, name in [states.get(task_id.hex, ("lost", ""))]
        if state in ("lost", "pending") or (state == "assigned" and name != "long")
    ]


def _misplaced(world: World) -> list[str]:
    """Rows, hubs and workers agree on who holds what."""
    rows = {
        (UUID(worker_id), UUID(task_id)): attempt
        for worker_id, task_id, attempt in world.database.connection.execute(HELD)
    }
    links = {
        (session_id, task_id): attempt
        for server in world.servers
        if server.hub is not None
        for session_id, link in server.hub._links.items()
        for task_id, attempt in link.held.items()
    }
    at_work = {key for worker in world.workers for key in worker.at_work}
    return [
        *(f"by the rows {key} is held, not by the hub" for key in rows.items() - links.items()),
        *(f"by the hub {key} is held, not by the rows" for key in links.items() - rows.items()),
        *(
            f"{task_id} is assigned, and nobody is at work on it"
            for (_, task_id), attempt in rows.items()
            if (str(task_id), attempt) not in at_work
        ),
    ]


def _acknowledged(world: World) -> list[str]:
    """A result that was acknowledged as accepted is the one that stands."""
    found = []
    query = world.database.connection.execute
    rows = query("SELECT id, state, result FROM queueapp_task")
    tasks = {task_id: (state, result) for task_id, state, result in rows}
    errors = set(query("SELECT task_id, number FROM queueapp_attempt WHERE outcome = 'error'"))
    for connection in world.connections:
        said = {(m["task_id"], m["attempt"]): m for m in connection.said if "result" in m}
        for ack in connection.heard:
            if ack.get("kind") != "ack" or ack["status"] != "accepted":
                continue
            message = said[ack["task_id"], ack["attempt"]]
            task_id = UUID(ack["task_id"]).hex
            state, result = tasks[task_id]
            if message["result"] == "done":
                nonce = f'"nonce":{message["data"]["nonce"]}}}'
                stands = state == "succeeded" and nonce in (result or "").replace(" ", "")
            else:
                stands = (task_id, ack["attempt"]) in errors
            if not stands:
                found.append(f"{message} was accepted by {connection.name}, and {state} {result} stands")
    return found


def _sent_twice(world: World) -> list[str]:
    """An attempt is handed over once, however often it is noticed."""
    return [
        f"{connection.name} was sent attempt {attempt} of {task_id} {times} times"
        for connection in world.connections
        for (task_id, attempt), times in Counter(
            (message["task_id"], message["attempt"]) for message in connection.heard if message["kind"] == "task"
        ).items()
        if times > 1
    ]


def _budgets(world: World) -> list[str]:
    """Attempts that the server ended cost nothing, the others one each."""
    found = []
    query = world.database.connection.execute
    attempts = query("SELECT task_id, number, worker_id, outcome FROM queueapp_attempt").fetchall()
    by_attempts = Counter(task_id for task_id, _, _, outcome in attempts if outcome in COUNTED)
    for task_id, state, attempt, used, most in query(
        "SELECT id, state, attempt, attempts_used, max_attempts FROM queueapp_task"
    ):
        if state == "succeeded" and attempt == 1:
            by_attempts[task_id] += 1
        if used != by_attempts[task_id]:
            found.append(f"{task_id} has used {used} attempts, by its attempts {by_attempts[task_id]}")
        if used > most:
            found.append(f"{task_id} has used {used} attempts of {most}")
    by_server = {UUID(c.session_id).hex for c in world.connections if c.ended_by_server_alone and c.session_id}
    return found + [
        f"{task_id} counts attempt {number} as lost: its server had died"
        for task_id, number, worker_id, outcome in attempts
        if outcome == "lost" and worker_id in by_server
    ]


def _overdue(world: World) -> list[str]:
    """What gets stuck is taken away at its timeout, and succeeds in another attempt."""
    rows = world.database.connection.execute(STUCK_AND_DONE)
    return [f"{task_id} has succeeded though its first attempt got stuck" for (task_id,) in rows]


def _busy(works: dict[Server, int], seconds: float) -> list[str]:
    """A hub at rest does nothing but its poll, once a second."""
    return [
        f"{server.process.name} did {server.process.works - before} works in {seconds} s at rest"
        for server, before in works.items()
        if server.process.works - before > seconds + 1.5
    ]
