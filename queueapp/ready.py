"""Finding ready tasks: the best of each route, in the contract's order, in one statement for each database."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from queueapp import database, statements
from queueapp.domain.matching import Subscription
from queueapp.lifecycle.keys import DUE
from queueapp.statements import Given, Returned

READY = "task.state = 'pending' AND task.delayed_until IS NULL AND NOT task.held_back"
"""Literals, not parameters, so that SQLite knows the partial index to apply."""
IN_ORDER = "task.priority DESC, task.available_at, task.id"
_WANTED = Given("wanted", route_id="uuid", number="integer", levels="integer")

_RIVALS = Given("rival", route_id="uuid", levels="integer")
_BEFORE = ("task.priority > %s", "task.priority = %s AND (task.available_at, task.id) < (%s, %s)")
"""Two ranges of the index, instead of one condition for which a whole route would be looked through."""

SUBSCRIPTIONS_A_STATEMENT = 100

SMALLEST_SHARE = 16
"""Of each route so many are read at once, however many routes there are."""

Wanted = tuple[UUID, int, int]
"""A route, how many of its tasks, and how many levels down they may go (0: they need not spill)."""


class ReadyTask(NamedTuple):
    """A task that waits for a worker, as far as the choice needs it. `avoid`: sessions that lost it, as texts."""

    task_id: UUID
    route_id: UUID
    priority: int
    available_at: datetime
    waiting_since: datetime
    timeout_seconds: float
    spill_after_seconds: float | None
    avoid: list[str] | None
    concurrency_key: str | None

    @property
    def order(self) -> tuple[int, datetime, UUID]:
        """Higher priority first, then older `available_at`, then order of submission."""
        return -self.priority, self.available_at, self.task_id


_READY_TASKS = Returned(ReadyTask)


class Spill(NamedTuple):
    """The room for a route's tasks that may go `levels` down from the most specific workers, or further."""

    room: int
    levels: int


def ready_tasks(room: Mapping[UUID, int], limit: int) -> list[ReadyTask]:
    """Up to `limit` ready tasks of the routes, best first; of each route no more than there is room for."""
    return _best([(route_id, min(number, limit), 0) for route_id, number in room.items()], limit, READY)


def spilled_tasks(spills: Mapping[UUID, Spill], limit: int, now: datetime) -> list[ReadyTask]:
    """As `ready_tasks`, of those that have waited long enough for the levels of their route."""
    wanted = [(route_id, min(spill.room, limit), spill.levels) for route_id, spill in spills.items()]
    waited = f"{database.elapsed_seconds('task.waiting_since')} >= wanted.levels * task.spill_after_seconds"
    condition = f"{READY} AND task.spill_after_seconds IS NOT NULL AND {waited}"
    return _best(wanted, limit, condition, database.adapt(now))


def routes_with_ready_tasks(after: UUID | None, limit: int) -> list[UUID]:
    """The next `limit` routes, by id, that have ready tasks: one step in the index for each route, however
    many tasks it has."""
    following = f"""
        SELECT task.route_id FROM queueapp_task AS task WHERE {READY} AND task.route_id > {{}}
        ORDER BY task.route_id LIMIT 1
        """
    rows = statements.execute(
        f"""
        WITH RECURSIVE route(id) AS (
            SELECT ({following.format("%s")})
            UNION ALL
            SELECT ({following.format("route.id")}) FROM route WHERE route.id IS NOT NULL
        )
        SELECT id FROM route WHERE id IS NOT NULL LIMIT %s
        """,
        [database.adapt(after or UUID(int=0)), limit],
    )
    return [database.as_uuid(row[0]) for row in rows]


def ready_routes_for(subscriptions: Collection[Subscription]) -> Iterator[tuple[Any, ...]]:
    """The routes that match one of the subscriptions and have ready tasks: id, name and attributes as
    the driver has them. Those that do not match stay in the database, however many they are."""
    ordered = sorted(subscriptions, key=repr)
    for start in range(0, len(ordered), SUBSCRIPTIONS_A_STATEMENT):
        part = [_matching(subscription) for subscription in ordered[start : start + SUBSCRIPTIONS_A_STATEMENT]]
        yield from statements.execute(
            f"""
            SELECT route.id, route.name, route.attrs FROM queueapp_route AS route
            WHERE ({" OR ".join(condition for condition, _ in part)})
                AND EXISTS (SELECT 1 FROM queueapp_task AS task WHERE task.route_id = route.id AND {READY})
            """,
            [parameter for _, parameters in part for parameter in parameters],
        )


def number_in_line(name: str, task: ReadyTask, limit: int) -> tuple[int, int]:
    """How many tasks of its concurrency key come before the task, counted up to `limit`, and how many of them are
    held back."""
    selects = [
        f"""
        SELECT * FROM (
            SELECT task.held_back FROM queueapp_task AS task
            WHERE task.name = %s AND task.concurrency_key = %s AND {DUE} AND {before}
            ORDER BY {IN_ORDER} LIMIT %s
        ) AS part
        """
        for before in _BEFORE
    ]
    place = [task.priority], [task.priority, database.adapt(task.available_at), database.adapt(task.task_id)]
    parameters = [each for values in place for each in (name, task.concurrency_key, *values, limit)]
    rows = statements.execute(
        f"SELECT held_back FROM ({' UNION ALL '.join(selects)} LIMIT %s) AS line", [*parameters, limit]
    )
    return len(rows), sum(bool(held_back) for (held_back,) in rows)


def number_ahead(levels: Mapping[UUID, int], task: ReadyTask, now: datetime, limit: int) -> int:
    """How many ready tasks of these routes come before the task, counted up to `limit`. Of each route those that
    may go so many `levels` down, as in `spilled_tasks`."""
    waited = f"{database.elapsed_seconds('task.waiting_since')} >= rival.levels * task.spill_after_seconds"
    at = database.adapt(now)
    ranges = ([task.priority], [task.priority, database.adapt(task.available_at), database.adapt(task.task_id)])
    selects, parameters = [], []
    for before, values in zip(_BEFORE, ranges, strict=True):
        selects.append(_rivals("rival.levels = 0", before, "true", limit))
        spilling = f"{before} AND task.spill_after_seconds IS NOT NULL"
        selects.append(_rivals("rival.levels > 0", spilling, waited, limit))
        parameters += [*values, *values, at]
    rows = statements.execute(
        f"WITH {_RIVALS.table} SELECT COUNT(*) FROM ({' UNION ALL '.join(selects)} LIMIT %s) AS ahead",
        [_RIVALS.rows(levels.items()), *parameters, limit],
    )
    return rows[0][0]


def _rivals(which: str, before: str, condition: str, limit: int) -> str:
    of_route = f"task.route_id = rival.route_id AND {READY} AND {before}"
    if database.is_postgresql():
        # In order, so that the index is taken, which has them so.
        tasks = f"SELECT * FROM queueapp_task AS task WHERE {of_route} ORDER BY {IN_ORDER} LIMIT {limit}"
        return f"SELECT 1 FROM rival CROSS JOIN LATERAL ({tasks}) AS task WHERE {which} AND {condition}"
    return f"SELECT 1 FROM rival CROSS JOIN queueapp_task AS task WHERE {which} AND {of_route} AND {condition}"


def _matching(subscription: Subscription) -> tuple[str, list[Any]]:
    """A condition on `route` with its parameters; what it lets through is matched once more where it counts."""
    conditions, parameters = ["route.name = %s"], [subscription.name]
    for criterion, accepted in subscription.criteria:
        conditions.append(database.object_has_one_of("route.attrs"))
        parameters += [criterion, json.dumps(sorted(accepted))]
    return f"({' AND '.join(conditions)})", parameters


def _best(wanted: list[Wanted], limit: int, condition: str, *parameters: Any) -> list[ReadyTask]:
    """The best of all the routes. Nearly always they are spread over them: so not all that may be taken of each
    route is read, but somewhat more than its share, and the rest only of a route that gave more than that."""
    if not wanted or not limit:
        return []
    share = max(SMALLEST_SHARE, 2 * limit // len(wanted))
    shares = [(route_id, min(number, share), levels) for route_id, number, levels in wanted]
    tasks = _top(shares, limit, condition, *parameters)
    taken = Counter(task.route_id for task in tasks)
    cut_off = [each for each in wanted if taken[each[0]] == share < each[1]]
    if cut_off:
        whole = {route_id for route_id, _, _ in cut_off}
        tasks = [task for task in tasks if task.route_id not in whole]
        tasks = _in_order(tasks + _top(cut_off, limit, condition, *parameters))[:limit]
    return tasks


def _top(wanted: list[Wanted], limit: int, condition: str, *parameters: Any) -> list[ReadyTask]:
    if database.is_postgresql():
        return _top_of_routes(wanted, "wanted.number", limit, condition, *parameters)
    by_number: dict[int, list[Wanted]] = {}
    for each in wanted:  # SQLite takes no column for a limit
        by_number.setdefault(each[1], []).append(each)
    tasks = [
        task
        for number, routes in by_number.items()
        for task in _top_of_routes(routes, number, limit, condition, *parameters)
    ]
    return _in_order(tasks)[:limit] if len(by_number) > 1 else tasks


def _in_order(tasks: Iterable[ReadyTask]) -> list[ReadyTask]:
    return sorted(tasks, key=lambda task: task.order)


def _top_of_routes(
    wanted: Iterable[Wanted], number: int | str, limit: int, condition: str, *parameters: Any
) -> list[ReadyTask]:
    if database.is_postgresql():
        joined = f"""
            wanted CROSS JOIN LATERAL (
                SELECT * FROM queueapp_task AS task
                WHERE task.route_id = wanted.route_id AND {condition}
                ORDER BY {IN_ORDER} LIMIT {number}
            ) AS task
            """
    else:
        joined = f"""
            wanted JOIN queueapp_task AS task ON task.id IN (
                SELECT task.id FROM queueapp_task AS task
                WHERE task.route_id = wanted.route_id AND {condition}
                ORDER BY {IN_ORDER} LIMIT {number}
            )
            """
    columns = _READY_TASKS.columns("task.id", *(f"task.{column}" for column in ReadyTask._fields[1:]))
    return _READY_TASKS.rows(
        f"WITH {_WANTED.table} SELECT {columns} FROM {joined} ORDER BY {IN_ORDER} LIMIT %s",
        [_WANTED.rows(wanted), *parameters, limit],
    )
