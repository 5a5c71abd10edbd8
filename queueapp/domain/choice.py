"""Which of the matching workers takes a task: least outstanding, within capacity (contract, section 2)."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Hashable, Iterable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

W = TypeVar("W", bound=Hashable)
Entry = tuple[tuple[int, int, Any], int, W]
"""(outstanding, order of giving, idle since), place in the tier, worker: sorts as the contract chooses. Who was
given a task just now is idle since later than all who were not, whose order of giving is 0."""


class Load(NamedTuple, Generic[W]):
    """A worker as the choice sees it. `idle_since`: when it last was given or finished a task, in whatever
    compares."""

    worker: W
    outstanding: int
    max_outstanding: int
    idle_since: Any

    @property
    def room(self) -> int:
        return max(0, self.max_outstanding - self.outstanding)


def tiers_allowed(waited_seconds: float, spill_after_seconds: float | None) -> int:
    """How many tiers may take a task: the candidates, and one lower for each `spill_after` it has waited."""
    if spill_after_seconds is None:
        return 1
    if spill_after_seconds <= 0:
        return 1_000_000
    return 1 + int(max(0.0, waited_seconds) / spill_after_seconds)


class Chooser(Generic[W]):
    """Chooses a worker for one task after another, and remembers what it has given to whom.

    Equal to choosing one at a time over all the workers, at O(log workers) a task: within a pass loads only
    grow, so an entry of a heap that is out of date sorts too early, is noticed when it surfaces, and goes
    back with its true load.
    """

    def __init__(self, loads: Iterable[Load[W]]) -> None:
        self._capacity: dict[W, int] = {}
        self._load: dict[W, tuple[int, int, Any]] = {}
        for worker, outstanding, max_outstanding, idle_since in loads:
            self._capacity[worker] = max_outstanding
            self._load[worker] = (outstanding, 0, idle_since)
        self._heaps: dict[int, tuple[Sequence[W], list[Entry[W]]]] = {}
        self._given = 0

    def has_room(self, tier: Sequence[W]) -> bool:
        return self._surface(self._heap(tier))

    def choose(self, tiers: Sequence[Sequence[W]], allowed: int = 1, avoid: Collection[W] = ()) -> W | None:
        """The worker that takes the task, or None while everyone who may is full.

        `tiers`: the matching workers by specificity, highest first. `allowed`: how many of the tiers may be
        used. `avoid`: workers that lost this task before; used only if no other of the tier has room.
        """
        for tier in tiers[:allowed]:
            worker = self._least_outstanding(tier, avoid)
            if worker is not None:
                self._give(tier, worker)
                return worker
        return None

    def _heap(self, tier: Sequence[W]) -> list[Entry[W]]:
        """The tier's heap, known by the tier's identity: hashing thousands of workers a task would cost more
        than the choice."""
        known = self._heaps.get(id(tier))
        if known is not None:
            return known[1]
        heap = [(self._load[w], order, w) for order, w in enumerate(tier) if w in self._load]
        heapq.heapify(heap)
        self._heaps[id(tier)] = (tier, heap)
        return heap

    def _surface(self, heap: list[Entry[W]]) -> bool:
        """Bring a worker with room and its true load to the top; False when all are full."""
        while heap:
            load, order, worker = heap[0]
            current = self._load[worker]
            if current[0] >= self._capacity[worker]:
                heapq.heappop(heap)
            elif load != current:
                heapq.heapreplace(heap, (current, order, worker))
            else:
                return True
        return False

    def _least_outstanding(self, tier: Sequence[W], avoid: Collection[W]) -> W | None:
        heap = self._heap(tier)
        avoided: list[Entry[W]] = []
        chosen: W | None = None
        while self._surface(heap):
            if heap[0][2] not in avoid:
                chosen = heap[0][2]
                break
            avoided.append(heapq.heappop(heap))
        if chosen is None and avoided:
            chosen = avoided[0][2]
        for entry in avoided:
            heapq.heappush(heap, entry)
        return chosen

    def _give(self, tier: Sequence[W], worker: W) -> None:
        outstanding, _, idle_since = self._load[worker]
        self._given += 1
        self._load[worker] = (outstanding + 1, self._given, idle_since)
