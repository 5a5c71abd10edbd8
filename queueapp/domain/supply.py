"""What waits and who may take it, route by route: the matching of the dispatcher, over many routes at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

from queueapp.domain.matching import Profile, ProfileIndex, best_specificity, tiers_of_profiles
from queueapp.domain.verdicts import Worker

MATCHES_TRIED = 200_000
"""Profiles on routes: an answer stays a matter of a fifth of a second, however many there are of either."""


class Demand(NamedTuple):
    """A route, and how many of its tasks wait for a worker. `is_exact` is false where there are more."""

    name: str
    attrs: Mapping[str, str]
    waiting: int = 0
    is_exact: bool = True


@dataclass(frozen=True, slots=True)
class Match:
    """Who matches a route: the profiles by specificity, highest first; how many workers these are; and of the
    candidates how many, how specific, and how much more they may hold."""

    tiers: Sequence[frozenset[Profile]] = ()
    workers: int = 0
    candidates: int = 0
    specificity: int | None = None
    room: int = 0


NOBODY = Match()


class Supply:
    """The workers that are online. Routes that differ only in what no filter asks for are matched once."""

    def __init__(self, workers: Iterable[Worker], tries: int = MATCHES_TRIED) -> None:
        self.workers = [worker for worker in workers if not worker.is_draining]
        self.number = Counter(worker.offers for worker in self.workers)
        self._room: Counter[Profile] = Counter()
        for worker in self.workers:
            self._room[worker.offers] += max(0, worker.max_outstanding - worker.outstanding)
        self._index = ProfileIndex(self.number)
        self._tries = tries
        self._accepted: dict[str, dict[str, set[str]]] = {}
        for profile in self.number:
            for subscription in profile:
                accepted = self._accepted.setdefault(subscription.name, {})
                for criterion, values in subscription.criteria:
                    accepted.setdefault(criterion, set()).update(values)
        self._known: dict[tuple[str, frozenset[tuple[str, str]]], Match] = {}

    @property
    def is_exhausted(self) -> bool:
        """Whether more profiles would have been tried than there is time for."""
        return self._tries <= 0

    def criteria(self, name: str) -> Mapping[str, Collection[str]]:
        """For what the filters of the name ask, each with all the values that one of them accepts."""
        return self._accepted.get(name, {})

    def match(self, name: str, attrs: Mapping[str, str]) -> Match | None:
        """None: there was no time to look."""
        accepted = self._accepted.get(name)
        if accepted is None:
            return NOBODY
        met = frozenset([pair for pair in attrs.items() if pair[1] in accepted.get(pair[0], ())])
        known = self._known.get((name, met))
        if known is None and not self.is_exhausted:
            known = self._known[name, met] = self._matched(name, dict(met))
        return known

    def count(self, profiles: Iterable[Profile]) -> int:
        """How many workers have these."""
        return sum(self.number[profile] for profile in profiles)

    def _matched(self, name: str, attrs: Mapping[str, str]) -> Match:
        near = self._index.near(name, attrs)
        self._tries -= len(near)
        tiers = tiers_of_profiles(near, name, attrs)
        if not tiers:
            return NOBODY
        best = best_specificity(next(iter(tiers[0])), name, attrs)
        room = sum(self._room[profile] for profile in tiers[0])
        return Match(tiers, sum(map(self.count, tiers)), self.count(tiers[0]), best, room)


@dataclass(frozen=True, slots=True)
class Covered:
    """A demand with who matches it, where there was time to look."""

    demand: Demand
    match: Match | None

    @property
    def has_no_worker(self) -> bool:
        return self.match is not None and not self.match.tiers


def cover(demands: Iterable[Demand], supply: Supply) -> list[Covered]:
    return [Covered(demand, supply.match(demand.name, demand.attrs)) for demand in demands]


# ---- workers that are of no use


@dataclass(frozen=True, slots=True)
class Shadow:
    """A worker that matches known routes, `example` among them, and for each of them there is one that matches
    more specifically, `by` for the example."""

    worker: Worker
    example: Demand
    by: Worker


def shadows(routes: Iterable[Demand], supply: Supply) -> list[Shadow]:
    """The workers that get nothing but what spills, as far as these routes tell. None where not all of them could
    be looked at: the one that was not may be the one that a worker is there for."""
    candidates: set[Profile] = set()
    behind: dict[Profile, tuple[Demand, Match]] = {}
    seen: set[int] = set()
    for route in routes:
        match = supply.match(route.name, route.attrs)
        if match is None:
            return []
        if match.tiers and id(match) not in seen:
            seen.add(id(match))  # the supply keeps it
            candidates |= match.tiers[0]
            for tier in match.tiers[1:]:
                for profile in tier:
                    behind.setdefault(profile, (route, match))
    found = []
    for worker in supply.workers:
        if worker.offers in behind and worker.offers not in candidates:
            example, match = behind[worker.offers]
            found.append(Shadow(worker, example, _first(supply.workers, match.tiers[0])))
    return found


def _first(workers: Sequence[Worker], profiles: Collection[Profile]) -> Worker:
    return next(worker for worker in workers if worker.offers in profiles)


# ---- workers that are to leave


@dataclass(frozen=True, slots=True)
class Loss:
    """A demand that loses workers: how many match before and after, and how many of these are candidates then."""

    demand: Demand
    before: int
    after: int
    candidates_after: int


@dataclass(frozen=True, slots=True)
class Losses:
    """`stranded` demands keep no worker, `thinned` keep some; the fewest left and the most that waits first.
    `unoffered`: the names that nobody else offers. `is_complete`: whether all demands were looked at."""

    stranded: Sequence[Loss]
    thinned: Sequence[Loss]
    unoffered: Sequence[str]
    is_complete: bool

    @property
    def stranded_tasks(self) -> int:
        return sum(loss.demand.waiting for loss in self.stranded)


def losses(demands: Iterable[Demand], supply: Supply, leaving: Collection[UUID]) -> Losses:
    """What it would mean for the demands if these workers were there no more. Those that drain take no part as
    it is."""
    left = Counter(worker.offers for worker in supply.workers if worker.id not in leaving)
    found, is_complete = [], True
    for demand in demands:
        match = supply.match(demand.name, demand.attrs)
        if match is None:
            is_complete = False
            continue
        after = [sum(left[profile] for profile in tier) for tier in match.tiers]
        if sum(after) < match.workers:
            candidates = next((number for number in after if number), 0)
            found.append(Loss(demand, match.workers, sum(after), candidates))
    found.sort(
        key=lambda loss: (loss.after, -loss.demand.waiting, loss.demand.name, sorted(loss.demand.attrs.items()))
    )
    offered = {subscription.name for profile in left for subscription in profile}
    lost = {each.name for worker in supply.workers if worker.id in leaving for each in worker.offers} - offered
    return Losses(
        [loss for loss in found if not loss.after],
        [loss for loss in found if loss.after],
        sorted(lost),
        is_complete,
    )
