"""THE dispatcher: ready tasks and online workers in, assignments out.

Tasks are found by route. Which routes match which workers is worked out once and remembered until a worker
with a new profile comes; a pass then looks only at routes that are hot (they may have ready tasks) and whose
candidates have room, so a backlog that nobody can take costs nothing. Memory here only caches: the rows are
read again, under the dispatch lock, before anything is decided.
"""

from __future__ import annotations

import json
from collections import Counter, deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from queueapp import database, lifecycle, statements
from queueapp.conf import config
from queueapp.domain.choice import tiers_allowed
from queueapp.domain.matching import Profile, ProfileIndex, tiers_of_profiles
from queueapp.domain.payloads import json_text
from queueapp.fleet import Fleet, Tier, Tiers
from queueapp.lifecycle import Assigned, Choice, WorkersChanged
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
    """One per process, used by one thread at a time but for `hear`."""

    def __init__(self) -> None:
        self._fleet = Fleet()
        self._matched_profiles: frozenset[Profile] = frozenset()
        self._index = ProfileIndex(())
        self._routes: dict[UUID, KnownRoute] = {}
        self._tiers: dict[Tier, Tier] = {}
        self._hot: set[UUID] = set()
        self._rung: set[UUID] = set()
        self._news: deque[tuple[Collection[UUID], bool]] = deque()
        self._keys_changed = True
        self._blocked: list[Blocked] = []
        self._is_learned = False
        self._seen_routes_until: datetime | None = None
        self._swept_until: UUID | None = None
        self.has_seen_all = False
        """Whether the last poll saw each route that had ready tasks: what is neither hot nor rung has none."""

    def hear(self, routes: Collection[UUID], keys_changed: bool = False) -> None:
        """These routes have got ready tasks; tasks of concurrency keys have come, ended or gone. On any thread."""
        if routes or keys_changed:
            self._news.append((routes, keys_changed))

    @property
    def has_news(self) -> bool:
        """Of which no pass knows yet."""
        return bool(self._news)

    def _listen(self) -> None:
        while self._news:
            routes, keys_changed = self._news.popleft()
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
        self._cool_unswept(begun_at, swept)
        self.has_seen_all = begun_at is None and self._swept_until is None
        if not self.has_seen_all:
            since = (self._seen_routes_until or now) - NEW_ROUTES_OVERLAP
            recent = Route.objects.filter(created_at__gte=since).with_ready_tasks().order_by("-created_at")
            self._rung.update(recent.values_list("id", flat=True)[:ROUTES_A_POLL])
        self._seen_routes_until = now

    def run_pass(self, roster_changed: bool = True) -> PassResult:
        """Assign what can be assigned, at most `pass_size` tasks. With nothing hot, and the workers as they were,
        there is nothing to look for."""
        self._listen()
        if self._keys_changed:
            self._settle_keys()
        if self._is_learned and not (roster_changed or self._hot or self._rung):
            return PassResult(more=self._keys_changed)
        while True:
            # Each choice in a transaction of its own: what one that was wrong has assigned is undone with it.
            try:
                result = self._run_once()
            except WorkersChanged:
                self._fleet = Fleet()  # All is read anew: what was remembered wrongly would be tried for ever.
            else:
                result.more = result.more or self._keys_changed
                return result

    def _settle_keys(self) -> None:
        """In a transaction of its own, for the tasks that it locks may come before those that a pass locks."""
        with database.brief_transaction(database.DISPATCH_LOCK):
            settled = settle(self._blocked)
        self._rung.update(settled.routes)
        self._blocked = []
        self._keys_changed = settled.more

    def _run_once(self) -> PassResult:
        # Nobody was promised an assignment: one that is undone is made again, and its first result is stale.
        # Who holds what is counted in each pass, over an index of which nearly all is dead soon.
        with database.brief_transaction(database.DISPATCH_LOCK, waits_for_disk=False, scans_plainly=True) as now:
            self._fleet.muster()
            self._learn_profiles()
            self._learn_routes()
            self._is_learned = True
            if not self._hot:
                return PassResult()
            return self._assign(now)

    def _limit(self) -> int:
        """How many tasks one pass looks for: no more than all the workers together have room for."""
        tiers = (tier for route_id in self._hot for tier in self._routes[route_id].tiers)
        return self._fleet.room_of_all(tiers, config().pass_size)

    def _find(self, limit: int, now: datetime) -> _Found:
        limits = Limits(self._fleet.are_queues_limited)
        plain: dict[UUID, int] = {}
        spilling: dict[UUID, Spill] = {}
        for route_id in self._hot:
            route = self._routes[route_id]
            if limits.is_queue_full(route.name):
                continue
            if room := limits.room(route.name, self._fleet.room(route.tiers[0])):
                plain[route_id] = room
            if len(route.tiers) > 1 and (spill := self._fleet.spill(route.tiers)):
                spilling[route_id] = spill
        ready = ready_tasks(plain, limit)
        spilled = spilled_tasks(spilling, limit, now) if spilling else []
        first = _first(ready, spilled, limit)
        limits.count_keys({self._key_of(task) for task in first if task.concurrency_key is not None})
        return _Found(plain, ready, first, limits)

    def _assign(self, now: datetime) -> PassResult:
        limit = self._limit()
        plain, ready, first, limits = self._find(limit, now)
        choices = self._choose(first, limits, now)
        assigned = lifecycle.assign(choices, now, self._fleet.capacities(choices))
        is_all_taken = len(choices) == limit < config().pass_size
        attrs = {task.route_id: self._routes[task.route_id].attrs for task in assigned}
        if len(ready) < limit:
            self._cool(plain, ready, {task.task_id for task in assigned})
        return PassResult(
            [Assignment(task, attrs[task.route_id]) for task in assigned],
            # A task that somebody else changed meanwhile may be ready again.
            more=len(assigned) < len(choices) or (bool(assigned) and len(first) == limit and not is_all_taken),
        )

    def _choose(self, ready: Sequence[ReadyTask], limits: Limits, now: datetime) -> list[Choice]:
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
            session_id = self._fleet.choose(self._routes[task.route_id].tiers, allowed, task.avoid or ())
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
                self._cool_down(route_id)

    def _cool_unswept(self, after: UUID | None, swept: Collection[UUID]) -> None:
        """Of the routes that the sweep has passed, only those with ready tasks are hot: while there is a backlog,
        a pass has too little room to see a route to its end."""
        begins, ends = after or UUID(int=0), self._swept_until or UUID(int=2**128 - 1)
        for route_id in {each for each in self._hot if begins < each <= ends} - set(swept):
            self._cool_down(route_id)

    def _cool_down(self, route_id: UUID) -> None:
        self._hot.discard(route_id)
        if len(self._routes) > KNOWN_ROUTES:
            del self._routes[route_id]

    # ---- what is remembered

    def _learn_profiles(self) -> None:
        """Match the routes anew where the workers bring a new profile."""
        if self._fleet.profiles != self._matched_profiles:
            self._rematch(frozenset(self._fleet.profiles))

    def _rematch(self, profiles: frozenset[Profile]) -> None:
        """Routes that no profile of those that have come or gone matches stay as they are."""
        added, gone = profiles - self._matched_profiles, self._matched_profiles - profiles
        self._matched_profiles = profiles
        self._index = ProfileIndex(profiles)
        changed = ProfileIndex(added | gone)
        for route_id, route in list(self._routes.items()):
            attrs = json.loads(route.attrs)
            if changed.near(route.name, attrs) and not self._remember(route_id, route.name, attrs):
                del self._routes[route_id]
        self._tiers = {tier: tier for route in self._routes.values() for tier in route.tiers}
        self._hot &= self._routes.keys()
        offered = {subscription for profile in added for subscription in profile}
        if offered:
            with database.with_bitmaps():
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
        tiers = tuple(self._tiers.setdefault(tier, tier) for tier in tiers)
        self._routes[route_id] = KnownRoute(name, json_text(attrs), tiers)
        return True

    def _match(self, name: str, attrs: dict[str, str]) -> Tiers:
        return tiers_of_profiles(self._index.near(name, attrs), name, attrs)


def _first(ready: list[ReadyTask], spilled: list[ReadyTask], limit: int) -> Sequence[ReadyTask]:
    """The first of both, as if looked for together: what comes later has its turn in the next pass."""
    if not spilled:
        return ready
    both = {task.task_id: task for task in ready + spilled}
    return sorted(both.values(), key=lambda task: task.order)[:limit]
