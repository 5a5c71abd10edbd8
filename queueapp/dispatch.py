"""THE dispatcher: ready tasks and online workers in, assignments out.

Tasks are found by route. Which routes match which workers is worked out once and remembered until a worker
with a new profile comes; a pass then looks only at routes that are hot (they may have ready tasks) and whose
candidates have room, so a backlog that nobody can take costs nothing. Memory here only caches: the rows are
read again, under the dispatch lock, before anything is decided.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from django.db import transaction

from queueapp import database, lifecycle
from queueapp.conf import config
from queueapp.domain.choice import Chooser, Load, tiers_allowed
from queueapp.domain.matching import Profile, Subscription, tiers_of_profiles
from queueapp.lifecycle import Assigned, Choice
from queueapp.models import Queue, Route, Task, WorkerSession
from queueapp.models import Subscription as SubscriptionRow
from queueapp.ready import ReadyTask, ready_tasks

NEW_ROUTES_OVERLAP = timedelta(seconds=120)
"""Routes committed late are younger than this: no transaction lasts so long."""

SessionRow = tuple[UUID, int, datetime]
"""Id, `max_outstanding`, `idle_since`."""

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
    """What a pass did. `more`: another pass may assign more now. `spill_at`: when a waiting task may go to a
    less specific worker."""

    assignments: list[Assignment] = field(default_factory=list)
    more: bool = False
    spill_at: datetime | None = None


class Dispatcher:
    """One per process, used by one thread at a time."""

    def __init__(self) -> None:
        self._profiles: dict[UUID, Profile] = {}
        self._matched_profiles: frozenset[Profile] = frozenset()
        self._routes: dict[UUID, KnownRoute] = {}
        self._tiers: dict[Tiers, Tiers] = {}
        self._hot: set[UUID] = set()
        self._rung: set[UUID] = set()
        self._seen_routes_until: datetime | None = None

    def hear(self, routes: Iterable[UUID]) -> None:
        """These routes have got ready tasks."""
        self._rung.update(routes)

    def forget(self) -> None:
        """Drop everything remembered, after a transaction that failed: it is read again from the rows."""
        self.__init__()  # type: ignore[misc]  # the one way that cannot miss an attribute

    def poll(self, now: datetime) -> None:
        """The slow poll behind the doorbells: routes that have ready tasks without anybody having rung."""
        offered = {subscription.name for profile in self._matched_profiles for subscription in profile}
        if not offered:
            return
        cold = [route_id for route_id in self._routes if route_id not in self._hot]
        self._rung.update(Route.objects.filter(pk__in=cold).with_ready_tasks().values_list("id", flat=True))
        since = (self._seen_routes_until or now) - NEW_ROUTES_OVERLAP
        recent = Route.objects.filter(name__in=offered, created_at__gte=since).exclude(pk__in=self._hot)
        self._rung.update(recent.with_ready_tasks().values_list("id", flat=True))
        self._seen_routes_until = now

    def run_pass(self, now: datetime, roster_changed: bool = True) -> PassResult:
        """Assign what can be assigned, at most `pass_size` tasks, in one transaction. With nothing hot, and the
        workers as they were, there is nothing to look for."""
        if not (roster_changed or self._hot or self._rung):
            return PassResult()
        with transaction.atomic(savepoint=False):
            database.lock_until_commit(database.DISPATCH_LOCK)
            sessions = list(
                WorkerSession.objects.online()
                .order_by("id")
                .select_for_update()
                .values_list("id", "max_outstanding", "idle_since")
            )
            self._learn_profiles(sessions)
            self._learn_routes()
            if not self._hot:
                return PassResult()
            return self._assign(_Fleet(sessions, self._profiles), now)

    def _assign(self, fleet: _Fleet, now: datetime) -> PassResult:
        paused = set(Queue.objects.paused().values_list("name", flat=True))
        plain: dict[UUID, int] = {}
        spilling: dict[UUID, int] = {}
        for route_id in self._hot:
            route = self._routes[route_id]
            if route.name in paused:
                continue
            if room := fleet.room(route.tiers[:1]):
                plain[route_id] = room
            elif room := fleet.room(route.tiers[1:]):
                spilling[route_id] = room
        limit = config().pass_size
        ready = ready_tasks(plain, spilling, limit)
        choices, spill_at = self._choose(ready, fleet, now)
        assigned = lifecycle.assign(choices, now)
        self._cool(plain, ready, {task.task_id for task in assigned}, limit)
        return PassResult(
            [Assignment(task, self._routes[task.route_id].attrs) for task in assigned],
            more=len(ready) >= limit and bool(assigned),
            spill_at=spill_at,
        )

    def _choose(
        self, ready: Sequence[ReadyTask], fleet: _Fleet, now: datetime
    ) -> tuple[list[Choice], datetime | None]:
        """The contract's choice for one task after another, in the contract's order."""
        choices: list[Choice] = []
        spill_at: datetime | None = None
        for task in ready:
            waited = (now - task.waiting_since).total_seconds()
            tiers = fleet.tiers(self._routes[task.route_id].tiers)
            allowed = tiers_allowed(waited, task.spill_after_seconds)
            session_id = fleet.chooser.choose(tiers, allowed, task.avoid)
            if session_id is not None:
                deadline = now + timedelta(seconds=task.timeout_seconds)
                choices.append(Choice(task.task_id, session_id, deadline))
            elif task.spill_after_seconds and allowed < len(tiers):
                next_tier = task.waiting_since + timedelta(seconds=allowed * task.spill_after_seconds)
                spill_at = min(spill_at or next_tier, next_tier)
        return choices, spill_at

    def _cool(self, asked: dict[UUID, int], ready: Sequence[ReadyTask], assigned: set[UUID], limit: int) -> None:
        """Forget that routes are hot which were seen to the end of their ready tasks, all of them assigned."""
        if len(ready) >= limit:
            return
        seen: dict[UUID, int] = {}
        left: set[UUID] = set()
        for task in ready:
            seen[task.route_id] = seen.get(task.route_id, 0) + 1
            if task.task_id not in assigned:
                left.add(task.route_id)
        self._hot.difference_update(
            route_id for route_id, room in asked.items() if seen.get(route_id, 0) < room and route_id not in left
        )

    # ---- what is remembered

    def _learn_profiles(self, sessions: Sequence[SessionRow]) -> None:
        """Read the subscriptions of new sessions; match the routes anew where that brings a new profile."""
        online = {session_id for session_id, _, _ in sessions}
        for gone in self._profiles.keys() - online:
            del self._profiles[gone]
        new = online - self._profiles.keys()
        if new:
            subscriptions: dict[UUID, set[Subscription]] = {session_id: set() for session_id in new}
            rows = SubscriptionRow.objects.filter(session__in=new).values_list("session_id", "name", "filter")
            for session_id, name, filter in rows:
                subscriptions[session_id].add(Subscription.of(name, filter))
            self._profiles.update((i, frozenset(offered)) for i, offered in subscriptions.items())
        profiles = frozenset(self._profiles.values())
        if profiles != self._matched_profiles:
            self._rematch(profiles)

    def _rematch(self, profiles: frozenset[Profile]) -> None:
        added = profiles - self._matched_profiles
        self._matched_profiles = profiles
        self._tiers.clear()
        known, self._routes = self._routes, {}
        for route_id, route in known.items():
            self._remember(route_id, route.name, json.loads(route.attrs))
        self._hot &= self._routes.keys()
        offered = {subscription.name for profile in added for subscription in profile}
        unknown = Route.objects.filter(name__in=offered).with_ready_tasks().values_list("id", "name", "attrs")
        for route_id, name, attrs in unknown.iterator(chunk_size=2000):
            if self._remember(route_id, name, attrs):
                self._hot.add(route_id)

    def _learn_routes(self) -> None:
        """Turn rung routes into hot ones, reading those that are not known. Unmatched ones are dropped: they
        are read again when a worker comes that might match."""
        self._hot |= self._rung & self._routes.keys()
        unknown = list(self._rung - self._routes.keys())
        self._rung.clear()
        if not unknown or not self._matched_profiles:
            return
        for start in range(0, len(unknown), database.MAX_VARIABLES):
            part = unknown[start : start + database.MAX_VARIABLES]
            for route_id, name, attrs in Route.objects.filter(pk__in=part).values_list("id", "name", "attrs"):
                if self._remember(route_id, name, attrs):
                    self._hot.add(route_id)

    def _remember(self, route_id: UUID, name: str, attrs: dict[str, str]) -> bool:
        tiers = tiers_of_profiles(self._matched_profiles, name, attrs)
        if not tiers:
            return False
        tiers = self._tiers.setdefault(tiers, tiers)
        self._routes[route_id] = KnownRoute(name, json.dumps(attrs, ensure_ascii=False), tiers)
        return True


class _Fleet:
    """The online workers as one pass sees them: their loads, and who stands behind a tier of profiles."""

    def __init__(self, sessions: Sequence[SessionRow], profiles: dict[UUID, Profile]) -> None:
        outstanding = Task.objects.outstanding_by_session()
        loads = [
            Load(session_id, outstanding.get(session_id, 0), max_outstanding, idle_since.timestamp())
            for session_id, max_outstanding, idle_since in sessions
        ]
        self.chooser = Chooser(loads)
        self._sessions: dict[Profile, list[UUID]] = {}
        self._room: dict[Profile, int] = {}
        for load in loads:
            profile = profiles[load.worker]
            self._sessions.setdefault(profile, []).append(load.worker)
            self._room[profile] = self._room.get(profile, 0) + load.room
        self._tiers: dict[Tiers, list[tuple[UUID, ...]]] = {}

    def room(self, tiers: Tiers) -> int:
        return sum(self._room.get(profile, 0) for tier in tiers for profile in tier)

    def tiers(self, tiers: Tiers) -> list[tuple[UUID, ...]]:
        known = self._tiers.get(tiers)
        if known is None:
            known = [tuple(s for profile in tier for s in self._sessions.get(profile, ())) for tier in tiers]
            self._tiers[tiers] = known
        return known
