"""THE dispatcher: ready tasks and online workers in, assignments out.

Tasks are found by route. Which routes match which workers is worked out once and remembered until a worker
with a new profile comes; a pass then looks only at routes that are hot (they may have ready tasks) and whose
candidates have room, so a backlog that nobody can take costs nothing. Memory here only caches: the rows are
read again, under the dispatch lock, before anything is decided.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from queueapp import database, lifecycle, statements
from queueapp.conf import config
from queueapp.domain.choice import Chooser, Load, tiers_allowed
from queueapp.domain.matching import Profile, Subscription, tiers_of_profiles
from queueapp.domain.payloads import json_text
from queueapp.lifecycle import Assigned, Choice
from queueapp.limits import Blocked, Key, Limits, settle
from queueapp.models import Route
from queueapp.ready import (
    ReadyTask,
    Spill,
    ready_routes_for,
    ready_tasks,
    routes_with_ready_tasks,
    spilled_tasks,
)
from queueapp.statements import NAMED

ROUTES_A_POLL = 1000
"""How many routes one slow poll looks at: the index is swept in turns, so that a poll stays short."""

KNOWN_ROUTES = 10_000
"""How many routes without ready tasks are remembered at most, beside the hot ones."""

NEW_ROUTES_OVERLAP = timedelta(seconds=120)
"""Routes committed late are younger than this: no transaction lasts so long."""

SessionRow = tuple[UUID, int, Any]
"""Id, `max_outstanding`, `idle_since` (as the driver has it: it is only compared)."""

Tiers = tuple[frozenset[Profile], ...]


@dataclass(frozen=True, slots=True)
class KnownRoute:
    """A route that somebody online matches. `attrs` is JSON text."""

    name: str
    attrs: str
    tiers: Tiers


@dataclass(frozen=True, slots=True)
class Assignment:
    """What to tell a worker: the task, and the attributes that its route holds, as JSON text."""

    task: Assigned
    attrs: str


@dataclass(slots=True)
class PassResult:
    """What a pass did. `more`: another pass may assign more now."""

    assignments: list[Assignment] = field(default_factory=list)
    more: bool = False


class _Found(NamedTuple):
    """The room for each route that was looked at, their ready tasks, the tasks whose turn it is, in order, and
    what there is room for of their queues and keys."""

    room: dict[UUID, int]
    ready: list[ReadyTask]
    first: Sequence[ReadyTask]
    limits: Limits


class Dispatcher:
    """One per process, used by one thread at a time."""

    def __init__(self) -> None:
        self._profiles: dict[UUID, Profile] = {}
        self._matched_profiles: frozenset[Profile] = frozenset()
        self._routes: dict[UUID, KnownRoute] = {}
        self._tiers: dict[Tiers, Tiers] = {}
        self._hot: set[UUID] = set()
        self._rung: set[UUID] = set()
        self._keys_changed = True
        self._blocked: list[Blocked] = []
        self._is_learned = False
        self._seen_routes_until: datetime | None = None
        self._swept_until: UUID | None = None
        self.has_seen_all = False
        """Whether the last poll saw each route that had ready tasks: what is neither hot nor rung has none."""

    def hear(self, routes: Iterable[UUID], keys_changed: bool = False) -> None:
        """These routes have got ready tasks; tasks of concurrency keys have come, ended or gone."""
        self._rung.update(routes)
        self._keys_changed = self._keys_changed or keys_changed

    def forget(self) -> None:
        """Drop everything remembered, after a transaction that failed: it is read again from the rows."""
        self.__init__()  # type: ignore[misc]  # the one way that cannot miss an attribute

    def poll(self, now: datetime) -> None:
        """The slow poll behind the doorbells: routes that have ready tasks without anybody having rung."""
        begun_at = self._swept_until
        swept = routes_with_ready_tasks(begun_at, ROUTES_A_POLL)
        self._swept_until = swept[-1] if len(swept) == ROUTES_A_POLL else None
        self._rung.update(swept)
        self.has_seen_all = begun_at is None and self._swept_until is None
        if not self.has_seen_all:
            since = (self._seen_routes_until or now) - NEW_ROUTES_OVERLAP
            recent = Route.objects.filter(created_at__gte=since).with_ready_tasks().order_by("-created_at")
            self._rung.update(recent.values_list("id", flat=True)[:ROUTES_A_POLL])
        self._seen_routes_until = now

    def run_pass(self, now: datetime, roster_changed: bool = True) -> PassResult:
        """Assign what can be assigned, at most `pass_size` tasks. With nothing hot, and the workers as they were,
        there is nothing to look for."""
        if self._keys_changed:
            self._settle_keys()
        if self._is_learned and not (roster_changed or self._hot or self._rung):
            return PassResult(more=self._keys_changed)
        while (result := self._run_once(now)) is None:
            # Each choice in a transaction of its own, at whose end the workers that were locked for it are free:
            # those of the next may come before them, and all lock workers in the order of their ids.
            pass
        result.more = result.more or self._keys_changed
        return result

    def _settle_keys(self) -> None:
        """In a transaction of its own, for the tasks that it locks may come before those that a pass locks."""
        with database.brief_transaction():
            database.lock_until_commit(database.DISPATCH_LOCK)
            settled = settle(self._blocked)
        self._rung.update(settled.routes)
        self._blocked = []
        self._keys_changed = settled.more

    def _run_once(self, now: datetime) -> PassResult | None:
        """None: a worker that would have been given a task is not any more what it was read to be."""
        with database.brief_transaction():
            database.lock_until_commit(database.DISPATCH_LOCK)
            sessions = _online_sessions()
            self._learn_profiles(sessions)
            self._learn_routes()
            self._is_learned = True
            if not self._hot:
                return PassResult()
            # Nobody was promised an assignment: one that is undone is made again, and its first result is stale.
            database.commit_without_the_disk()
            return self._assign(_Fleet(sessions, self._profiles), now)

    def _find(self, fleet: _Fleet, now: datetime) -> _Found:
        limits = Limits()
        plain: dict[UUID, int] = {}
        spilling: dict[UUID, Spill] = {}
        for route_id in self._hot:
            route = self._routes[route_id]
            if limits.is_queue_full(route.name):
                continue
            if room := limits.room(route.name, fleet.room(route.tiers[:1])):
                plain[route_id] = room
            if spill := fleet.spill(route.tiers):
                spilling[route_id] = spill
        limit = config().pass_size
        ready = ready_tasks(plain, limit)
        spilled = spilled_tasks(spilling, limit, now) if spilling else []
        first = _first(ready, spilled, limit)
        limits.count_keys({self._key_of(task) for task in first if task.concurrency_key is not None})
        return _Found(plain, ready, first, limits)

    def _assign(self, fleet: _Fleet, now: datetime) -> PassResult | None:
        limit = config().pass_size
        plain, ready, first, limits = self._find(fleet, now)
        choices = self._choose(first, fleet, limits, now)
        if not fleet.is_still_so(choices):
            return None
        assigned = lifecycle.assign(choices, now)
        attrs = {task.route_id: self._routes[task.route_id].attrs for task in assigned}
        if len(ready) < limit:
            self._cool(plain, ready, {task.task_id for task in assigned})
        return PassResult(
            [Assignment(task, attrs[task.route_id]) for task in assigned],
            # A task that somebody else changed meanwhile may be ready again.
            more=len(assigned) < len(choices) or (bool(assigned) and len(first) == limit),
        )

    def _choose(self, ready: Sequence[ReadyTask], fleet: _Fleet, limits: Limits, now: datetime) -> list[Choice]:
        """The contract's choice for one task after another, in the contract's order."""
        choices: list[Choice] = []
        deadlines: dict[float, datetime] = {}
        is_limited = bool(limits)
        for turn, task in enumerate(ready):
            if is_limited:
                if limits.is_queue_full(self._key_of(task)[0]):
                    continue
                if limits.is_key_full(self._key_of(task)):
                    # In its place others of its route were not looked at, which may come before what follows here.
                    self._block(ready[turn:], limits)
                    break
            allowed = 1
            if task.spill_after_seconds is not None:
                allowed = tiers_allowed((now - task.waiting_since).total_seconds(), task.spill_after_seconds)
            avoid = {UUID(session_id) for session_id in task.avoid} if task.avoid else ()
            session_id = fleet.chooser.choose(fleet.tiers(self._routes[task.route_id].tiers), allowed, avoid)
            if session_id is not None:
                if task.timeout_seconds not in deadlines:
                    deadlines[task.timeout_seconds] = now + timedelta(seconds=task.timeout_seconds)
                choices.append(Choice(task.task_id, session_id, deadlines[task.timeout_seconds]))
                if is_limited:
                    limits.take(self._key_of(task))
        return choices

    def _block(self, ready: Sequence[ReadyTask], limits: Limits) -> None:
        """Have those of the tasks whose key is full held back before the next pass, which follows at once."""
        keys = [(task.task_id, self._key_of(task)) for task in ready]
        self._blocked = [Blocked(task_id, key) for task_id, key in keys if limits.is_key_full(key)]
        self._keys_changed = True

    def _key_of(self, task: ReadyTask) -> Key:
        return self._routes[task.route_id].name, task.concurrency_key

    def _cool(self, room: dict[UUID, int], ready: Sequence[ReadyTask], assigned: set[UUID]) -> None:
        """Forget that routes are hot which were seen to the end of their ready tasks, all of them assigned."""
        seen = Counter(task.route_id for task in ready)
        left = {task.route_id for task in ready if task.task_id not in assigned}
        for route_id, number in room.items():
            if seen[route_id] < number and route_id not in left:
                self._hot.discard(route_id)
                if len(self._routes) > KNOWN_ROUTES:
                    del self._routes[route_id]

    # ---- what is remembered

    def _learn_profiles(self, sessions: Sequence[SessionRow]) -> None:
        """Read the subscriptions of new sessions; match the routes anew where that brings a new profile."""
        self._read_profiles(sessions)
        profiles = frozenset(self._profiles.values())
        if profiles != self._matched_profiles:
            self._rematch(profiles)

    def _muster(self) -> _Fleet:
        """The workers that are online, for whoever matches them with routes of its own."""
        sessions = _online_sessions()
        self._read_profiles(sessions)
        self._matched_profiles = frozenset(self._profiles.values())
        return _Fleet(sessions, self._profiles)

    def _read_profiles(self, sessions: Sequence[SessionRow]) -> None:
        online = {session_id for session_id, _, _ in sessions}
        for gone in self._profiles.keys() - online:
            del self._profiles[gone]
        new = online - self._profiles.keys()
        if new:
            subscriptions: dict[UUID, set[Subscription]] = {session_id: set() for session_id in new}
            rows = statements.rows_of(
                new, f"SELECT session_id, name, filter FROM queueapp_subscription WHERE session_id IN ({NAMED})"
            )
            for session_id, name, filter in rows:
                offered = Subscription.of(name, database.as_json(filter))
                subscriptions[database.as_uuid(session_id)].add(offered)
            self._profiles.update((i, frozenset(each)) for i, each in subscriptions.items())

    def _rematch(self, profiles: frozenset[Profile]) -> None:
        added = profiles - self._matched_profiles
        self._matched_profiles = profiles
        self._tiers.clear()
        known, self._routes = self._routes, {}
        for route_id, route in known.items():
            self._remember(route_id, route.name, json.loads(route.attrs))
        self._hot &= self._routes.keys()
        offered = {subscription for profile in added for subscription in profile}
        self._heat(ready_routes_for(offered))

    def _learn_routes(self) -> None:
        """Turn rung routes into hot ones, reading those that are not known. Unmatched ones are dropped: they
        are read again when a worker comes that might match."""
        self._hot |= self._rung & self._routes.keys()
        unknown = self._rung - self._routes.keys()
        self._rung.clear()
        if unknown and self._matched_profiles:
            named = f"SELECT id, name, attrs FROM queueapp_route WHERE id IN ({NAMED})"
            self._heat(statements.rows_of(unknown, named))

    def _heat(self, rows: Iterable[tuple[Any, ...]]) -> None:
        """Routes that have, or may have, ready tasks: id, name, attributes."""
        for route_id, name, attrs in rows:
            if self._remember(database.as_uuid(route_id), name, database.as_json(attrs)):
                self._hot.add(database.as_uuid(route_id))

    def _remember(self, route_id: UUID, name: str, attrs: dict[str, str]) -> bool:
        tiers = self._match(name, attrs)
        if not tiers:
            return False
        tiers = self._tiers.setdefault(tiers, tiers)
        self._routes[route_id] = KnownRoute(name, json_text(attrs), tiers)
        return True

    def _match(self, name: str, attrs: dict[str, str]) -> Tiers:
        return tiers_of_profiles(self._matched_profiles, name, attrs)


class _Fleet:
    """The online workers as one pass sees them: their loads, and who stands behind a tier of profiles."""

    def __init__(self, sessions: Sequence[SessionRow], profiles: dict[UUID, Profile]) -> None:
        outstanding = _outstanding()
        loads = [
            Load(session_id, outstanding.get(session_id, 0), max_outstanding, idle_since)
            for session_id, max_outstanding, idle_since in sessions
        ]
        self.chooser = Chooser(loads)
        self._capacities = {load.worker: load.max_outstanding for load in loads}
        self._sessions: dict[Profile, list[tuple[int, UUID]]] = {}
        self._room: dict[Profile, int] = {}
        for place, load in enumerate(loads):
            profile = profiles[load.worker]
            self._sessions.setdefault(profile, []).append((place, load.worker))
            self._room[profile] = self._room.get(profile, 0) + load.room
        self._tiers: dict[Tiers, list[tuple[UUID, ...]]] = {}

    def room(self, tiers: Tiers) -> int:
        return sum(self._room.get(profile, 0) for tier in tiers for profile in tier)

    def is_still_so(self, choices: Sequence[Choice]) -> bool:
        """Lock the chosen workers, so that none of them goes before its tasks are its own, and see whether they
        are online with the capacity that was counted on."""
        chosen = {choice.session_id for choice in choices}
        locked = statements.rows_of(
            chosen,
            f"""
            SELECT id, max_outstanding FROM queueapp_workersession
            WHERE id IN ({NAMED}) AND gone_at IS NULL AND state = 'online' ORDER BY id {database.for_update()}
            """,
        )
        return len(locked) == len(chosen) and all(
            max_outstanding == self._capacities[database.as_uuid(session_id)]
            for session_id, max_outstanding in locked
        )

    def spill(self, tiers: Tiers) -> Spill | None:
        """None: no lower tier has room. The room is that of all tiers, for the first of those that may spill may
        be taken by the first tier."""
        lower = (level for level in range(1, len(tiers)) if self.room(tiers[level : level + 1]))
        level = next(lower, None)
        return Spill(self.room(tiers), level) if level is not None else None

    def tiers(self, tiers: Tiers) -> list[tuple[UUID, ...]]:
        known = self._tiers.get(tiers)
        if known is None:
            known = self._tiers[tiers] = [self._workers(tier) for tier in tiers]
        return known

    def _workers(self, tier: frozenset[Profile]) -> tuple[UUID, ...]:
        """In the order of their ids, in which equals are taken: by that of a set nobody could foresee who is."""
        placed = sorted(each for profile in tier for each in self._sessions.get(profile, ()))
        return tuple(session_id for _, session_id in placed)


def _online_sessions() -> list[SessionRow]:
    rows = statements.execute(
        "SELECT id, max_outstanding, idle_since FROM queueapp_workersession "
        "WHERE gone_at IS NULL AND state = 'online' ORDER BY id"
    )
    return rows if database.is_postgresql() else [(UUID(hex=row[0]), *row[1:]) for row in rows]


def _outstanding() -> dict[UUID, int]:
    """How many tasks each session holds, counted from the rows: nothing that could drift."""
    rows = statements.execute(
        "SELECT worker_id, COUNT(*) FROM queueapp_task WHERE worker_id IS NOT NULL GROUP BY worker_id"
    )
    return {database.as_uuid(session_id): count for session_id, count in rows}


def _first(ready: list[ReadyTask], spilled: list[ReadyTask], limit: int) -> Sequence[ReadyTask]:
    """The first of both, as if looked for together: what comes later has its turn in the next pass."""
    if not spilled:
        return ready
    both = {task.task_id: task for task in ready + spilled}
    return sorted(both.values(), key=lambda task: task.order)[:limit]
