"""How many tasks of a queue, and of a concurrency key, may still be assigned (docs/decisions/0007).

Counted from the rows, under the dispatch lock: only who holds it assigns, so that what is counted can meanwhile
only have become less. Whoever asks holds it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import UUID

from queueapp import database, lifecycle, statements
from queueapp.lifecycle.keys import DUE
from queueapp.models import ChangedKey
from queueapp.statements import Given

KEYS_A_TURN = 200
"""How many notes of changed keys are dealt with in one transaction."""

ROUTES_A_TURN = 1000
"""Of the tasks that are let through on every route of their key."""

Key = tuple[str, str | None]
"""The name of a queue, and a concurrency key in it, if there is one."""

LIMITED = "paused OR concurrency IS NOT NULL"
"""Of queues."""

_IN_LINE = f"{DUE} AND task.concurrency_key IS NOT NULL"
_ORDER = "task.priority DESC, task.available_at, task.id"
_WANTED = Given("wanted", name="text", key="text")


class Blocked(NamedTuple):
    """A task that was let through and then found its key full."""

    task_id: UUID
    key: Key


class Limits:
    """What one pass may still assign of the queues that are paused or limited, and of the keys that it meets."""

    def __init__(self, are_queues_limited: bool) -> None:
        self._room: dict[str, int] = {}
        self._room_of_keys: dict[Key, int] = {}
        if are_queues_limited:
            self._count_queues()

    def _count_queues(self) -> None:
        limited = {}
        for name, paused, concurrency in statements.execute(
            f"SELECT name, paused, concurrency FROM queueapp_queue WHERE {LIMITED}"
        ):
            if paused:
                self._room[name] = 0
            else:
                limited[name] = concurrency
        if limited:
            running = dict(
                statements.execute(
                    "SELECT name, COUNT(*) FROM queueapp_task WHERE worker_id IS NOT NULL GROUP BY name"
                )
            )
            self._room |= {name: max(0, limit - running.get(name, 0)) for name, limit in limited.items()}

    def __bool__(self) -> bool:
        """Whether there is anything that a task could be refused for."""
        return bool(self._room or self._room_of_keys)

    def room(self, name: str, wanted: int) -> int:
        """How many of the wanted the queue has room for."""
        return min(wanted, self._room.get(name, wanted))

    def count_keys(self, keys: Collection[Key]) -> None:
        """Count what runs of the keys, which costs nothing where there are none."""
        if keys:
            self._room_of_keys = room_of_keys(keys)

    def is_queue_full(self, name: str) -> bool:
        return self._room.get(name) == 0

    def is_key_full(self, key: Key) -> bool:
        return self._room_of_keys.get(key) == 0

    def take(self, key: Key) -> None:
        """A task of this queue, and of the key if it has one, is going to be assigned."""
        name, _ = key
        if name in self._room:
            self._room[name] -= 1
        if key in self._room_of_keys:
            self._room_of_keys[key] -= 1


@dataclass(slots=True)
class Settled:
    """`routes` may have got ready tasks. `more`: there is more to be settled."""

    routes: set[UUID] = field(default_factory=set)
    more: bool = False


def settle(blocked: Collection[Blocked]) -> Settled:
    """Of keys that have changed, let through the tasks whose turn it is; hold back again those that are blocked.

    Of a key with room the first in its line are let through, as many as it has room for: nearly always they are
    assigned at once. Where that is not all that waits, they may be of routes on which nobody has room: so the next
    turn lets through the first of each route, if the key has room still.
    """
    settled = Settled()
    notes = statements.execute(
        "SELECT id, name, key, each_route FROM queueapp_changedkey ORDER BY id LIMIT %s", [KEYS_A_TURN]
    )
    stages: dict[Key, bool] = {}
    for _, name, key, each_route in notes:
        stages[name, key] = bool(each_route) or stages.get((name, key), False)
    room = room_of_keys(stages.keys() | {each.key for each in blocked})
    first = {key: room[key] for key, each_route in stages.items() if not each_route and room[key]}
    each = {key: room[key] for key, each_route in stages.items() if each_route and room[key]}
    turns, lines_go_on = _first_in_line(first)
    turns_on_routes = _first_on_each_route(each)
    lifecycle.mark(
        [task_id for task_id, _ in turns + turns_on_routes],
        [task.task_id for task in blocked if not room[task.key]],
    )
    settled.routes = {route_id for _, route_id in turns + turns_on_routes}
    unfinished = lines_go_on if len(turns_on_routes) < ROUTES_A_TURN else lines_go_on | each.keys()
    _cross_out(notes, unfinished)
    settled.more = bool(unfinished) or len(notes) == KEYS_A_TURN
    return settled


def room_of_keys(keys: Collection[Key]) -> dict[Key, int]:
    """How many tasks more may be assigned of each of the keys: one step in an index for each that runs."""
    if not keys:
        return {}
    rows = statements.execute(
        f"""
        WITH {_WANTED.table}
        SELECT wanted.name, wanted.key, COALESCE(queue.concurrency_per_key, 1) - (
            SELECT COUNT(*) FROM queueapp_task AS task
            WHERE task.name = wanted.name AND task.concurrency_key = wanted.key
                AND task.concurrency_key IS NOT NULL AND task.worker_id IS NOT NULL
        )
        FROM wanted LEFT JOIN queueapp_queue AS queue ON queue.name = wanted.name
        """,
        [_WANTED.rows(keys)],
    )
    return {(name, key): max(0, room) for name, key, room in rows}


def _first_in_line(room: Mapping[Key, int]) -> tuple[list[tuple[UUID, UUID]], set[Key]]:
    """Of each key as many held back tasks as are among the first for which it has room, with their routes; and the
    keys in whose line more are waiting."""
    turns, longer = [], set()
    for number, keys in _by_room(room):
        seen: dict[Key, int] = {}
        for name, key, task_id, route_id, held_back in _heads("wanted", "", keys, number + 1):
            seen[name, key] = seen.get((name, key), 0) + 1
            if seen[name, key] > number:
                longer.add((name, key))
            elif held_back:
                turns.append((database.as_uuid(task_id), database.as_uuid(route_id)))
    return turns, longer


def _first_on_each_route(room: Mapping[Key, int]) -> list[tuple[UUID, UUID]]:
    """As `_first_in_line`, of each route of the keys; ROUTES_A_TURN of them or more when there may be others."""
    turns = []
    for number, keys in _by_room(room):
        following = f"""
            SELECT task.route_id FROM queueapp_task AS task
            WHERE task.name = {{0}}.name AND task.concurrency_key = {{0}}.key AND {_IN_LINE} {{1}}
            ORDER BY task.route_id LIMIT 1
            """
        routes = f"""
            line(name, key, route_id) AS (
                SELECT wanted.name, wanted.key, ({following.format("wanted", "")}) FROM wanted
                UNION ALL
                SELECT line.name, line.key, ({following.format("line", "AND task.route_id > line.route_id")})
                FROM line WHERE line.route_id IS NOT NULL
            )
            """
        for _, _, task_id, route_id, _ in _heads("line", routes, keys, number):
            turns.append((database.as_uuid(task_id), database.as_uuid(route_id)))
    return turns


def _heads(lines: str, recursive: str, keys: Collection[Key], number: int) -> list[tuple[Any, ...]]:
    """The first `number` of each line: name, key, id, route, whether it is held back."""
    # Not `=`: the route would not count for the order then, and the planner take the line of the whole key, in the
    # belief that a task of this route will soon come.
    own_route = f"AND task.route_id BETWEEN {lines}.route_id AND {lines}.route_id" if recursive else ""
    condition = f"""
        FROM queueapp_task AS task
        WHERE task.name = {lines}.name AND task.concurrency_key = {lines}.key AND {_IN_LINE} {own_route}
        ORDER BY {"task.route_id, " if recursive else ""}{_ORDER} LIMIT {number}
        """
    if database.is_postgresql():
        joined = f"{lines} CROSS JOIN LATERAL (SELECT task.* {condition}) AS task"
    else:
        joined = f"{lines} JOIN queueapp_task AS task ON task.id IN (SELECT task.id {condition})"
    tables = f"RECURSIVE {_WANTED.table}, {recursive}" if recursive else _WANTED.table
    return statements.execute(
        f"""
        WITH {tables}
        SELECT {lines}.name, {lines}.key, task.id, task.route_id, task.held_back FROM {joined}
        {"WHERE task.held_back" if recursive else ""} ORDER BY {lines}.name, {lines}.key, {_ORDER}
        {f"LIMIT {ROUTES_A_TURN}" if recursive else ""}
        """,
        [_WANTED.rows(keys)],
    )


def _by_room(room: Mapping[Key, int]) -> list[tuple[int, list[Key]]]:
    """The keys by how much room they have: SQLite takes no column for a limit."""
    by_room: dict[int, list[Key]] = {}
    for key, number in room.items():
        by_room.setdefault(number, []).append(key)
    return list(by_room.items())


def _cross_out(notes: Sequence[tuple[int, str, str, Any]], unfinished: Collection[Key]) -> None:
    """Forget the notes, but for one of each key whose routes are still to be looked at."""
    kept = {(name, key): note_id for note_id, name, key, _ in notes if (name, key) in unfinished}
    ChangedKey.objects.filter(pk__in=[note_id for note_id, *_ in notes if note_id not in kept.values()]).delete()
    ChangedKey.objects.filter(pk__in=kept.values()).update(each_route=True)
