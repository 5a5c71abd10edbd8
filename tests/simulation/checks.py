"""What must be true at every commit, and what once the faults are over and everybody had time."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any
from uuid import UUID

from queueapp.models import Attempt, Task
from tests.simulation.database import Database

if TYPE_CHECKING:
    from tests.simulation.people import Server
    from tests.simulation.world import World

COUNTED = ("done", "error", "lost", "timeout")

OVER_CAPACITY = """
    SELECT task.worker_id, COUNT(*), session.max_outstanding
    FROM queueapp_task AS task JOIN queueapp_workersession AS session ON session.id = task.worker_id
    GROUP BY task.worker_id HAVING COUNT(*) > session.max_outstanding
    """
TERMINAL = "SELECT id, state, attempt, attempts_used, result FROM queueapp_task WHERE finished_at IS NOT NULL"


ONLINE = "SELECT COUNT(*) FROM queueapp_workersession WHERE state = 'online'"


class Watch:
    """Looks at the rows after every commit."""

    def __init__(self, database: Database) -> None:
        self.wrongs: list[str] = []
        self._database = database
        self._ended: dict[str, Any] = {}

    def after_commit(self) -> None:
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
        and world.database.connection.execute(ONLINE).fetchone()[0] == len(world.workers)
        and not _unfinished(world)
        and not _misplaced(world)
    )


def wrongs(world: World, works: dict[Server, int], seconds: float) -> list[str]:
    return [
        *(f"{task_id} {state} has not ended" for task_id, state in _unfinished(world)),
        *_misplaced(world),
        *_acknowledged(world),
        *_sent_twice(world),
        *_budgets(world),
        *_busy(works, seconds),
    ]


def _unfinished(world: World) -> list[tuple[UUID, str]]:
    """The accepted tasks that are gone or have not ended, but for those that take for ever and are at it."""
    states = {row[0]: row[1:] for row in Task.objects.values_list("id", "state", "name")}
    return [
        (task_id, state)
        for task_id in world.accepted
        for state, name in [states.get(task_id, ("lost", ""))]
        if state in ("lost", "pending") or (state == "assigned" and name != "long")
    ]


def _misplaced(world: World) -> list[str]:
    """Rows, hubs and workers agree on who holds what."""
    rows = {
        (worker_id, task_id): attempt
        for worker_id, task_id, attempt in Task.objects.assigned().values_list("worker_id", "id", "attempt")
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
    for connection in world.connections:
        said = {(m["task_id"], m["attempt"]): m for m in connection.said if "result" in m}
        for ack in connection.heard:
            if ack.get("kind") != "ack" or ack["status"] != "accepted":
                continue
            message = said[ack["task_id"], ack["attempt"]]
            task = Task.objects.get(pk=ack["task_id"])
            if message["result"] == "done":
                nonce = f'"nonce":{message["data"]["nonce"]}}}'
                stands = task.state == "succeeded" and nonce in (task.result or "").replace(" ", "")
            else:
                stands = task.attempts.filter(number=ack["attempt"], outcome="error").exists()
            if not stands:
                found.append(f"{message} was accepted by {connection.name}, and {task.state} {task.result} stands")
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
    used: Counter[UUID] = Counter()
    for task_id, outcome in Attempt.objects.values_list("task_id", "outcome"):
        used[task_id] += outcome in COUNTED
    for task in Task.objects.all():
        if task.state == "succeeded" and task.attempt == 1:
            used[task.id] += 1
        if task.attempts_used != used[task.id]:
            found.append(f"{task.id} has used {task.attempts_used} attempts, by its attempts {used[task.id]}")
        if task.attempts_used > task.max_attempts:
            found.append(f"{task.id} has used {task.attempts_used} attempts of {task.max_attempts}")
    by_server = {c.session_id for c in world.connections if c.ended_by_server_alone and c.session_id}
    for attempt in Attempt.objects.filter(worker__in=by_server, outcome="lost"):
        found.append(f"{attempt.task_id} counts attempt {attempt.number} as lost: its server had died")
    return found


def _busy(works: dict[Server, int], seconds: float) -> list[str]:
    """A hub at rest does nothing but its poll, once a second."""
    return [
        f"{server.process.name} did {server.process.works - before} works in {seconds} s at rest"
        for server, before in works.items()
        if server.process.works - before > seconds + 1.5
    ]
