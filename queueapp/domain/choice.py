"""Which of the matching workers takes a task: least outstanding, within capacity (contract, section 2)."""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

W = TypeVar("W")
"""A worker's name: hashable, and in an order by which equals are taken."""

Rank = tuple[int, int, Any, W]
"""(outstanding, order of giving, idle since, worker): sorts as the contract chooses. Who was given a task just now
is idle since later than all who were not, whose order of giving is 0. In one, for with thousands of workers half
of a choice is comparing."""

LEAST_ENTRIES = 64
"""Of a heap, below which it is not worth a thought whether some are superfluous."""


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


class _Line(Generic[W]):
    """The workers of a tier as a heap. `seen`: up to where the list of changes has been followed."""

    __slots__ = ("heap", "members", "seen", "tier")

    def __init__(self, tier: Sequence[W]) -> None:
        self.tier = tier
        self.members = frozenset(tier)
        self.heap: list[Rank[W]] = []
        self.seen = 0


class Chooser(Generic[W]):
    """Chooses a worker for one task after another, and remembers what it has given to whom.

    Equal to choosing one at a time over all the workers, at O(log workers) a task: each worker with room has an
    entry in the heap of each of its tiers that does not sort too late. Within a pass loads only grow, so an entry
    that is out of date sorts too early, is noticed when it surfaces, and goes back with its true rank. Between
    passes they may fall: who has changed gets another entry. So a pass costs what has changed, not all workers.
    """

    def __init__(self, loads: Iterable[Load[W]] = ()) -> None:
        self._loads: dict[W, Load[W]] = {}
        self._ranks: dict[W, Rank[W]] = {}
        self._lines: dict[int, _Line[W]] = {}
        self._changes: list[W] = []
        self._given_to: set[W] = set()
        self._given = 0
        self.update(loads)

    def update(self, loads: Iterable[Load[W]], gone: Iterable[W] = ()) -> None:
        """The loads that are others than before, and who has gone. What was given since the last update counts no
        more: what became of it, the loads say."""
        changed = {load.worker: load for load in loads}
        self._loads.update(changed)
        for worker in gone:
            self._loads.pop(worker, None)
            self._ranks.pop(worker, None)
            self._given_to.discard(worker)
            changed.pop(worker, None)
        for worker in self._given_to - changed.keys():
            changed[worker] = self._loads[worker]
        for worker, held, _, idle_since in changed.values():
            self._ranks[worker] = (held, 0, idle_since, worker)
        self._changes += changed
        self._given_to.clear()
        self._given = 0
        if len(self._changes) > 4 * len(self._loads) + LEAST_ENTRIES:
            self.forget_tiers()

    def forget_tiers(self) -> None:
        """Other workers stand behind them from now on."""
        self._lines.clear()
        self._changes.clear()

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
                self._give(worker)
                return worker
        return None

    def _heap(self, tier: Sequence[W]) -> list[Rank[W]]:
        """The tier's heap, known by the tier's identity: hashing thousands of workers a task would cost more
        than the choice."""
        line = self._lines.get(id(tier))
        if line is None:
            line = self._lines[id(tier)] = _Line(tier)
            self._fill(line)
        elif line.seen < len(self._changes):
            self._follow(line)
        return line.heap

    def _follow(self, line: _Line[W]) -> None:
        changed = self._changes[line.seen :]
        if len(line.heap) + len(changed) > 2 * len(line.tier) + LEAST_ENTRIES:
            self._fill(line)
            return
        line.seen = len(self._changes)
        for worker in changed:
            if worker in line.members and worker in self._ranks:
                heapq.heappush(line.heap, self._ranks[worker])

    def _fill(self, line: _Line[W]) -> None:
        ranks = self._ranks
        line.heap = [ranks[worker] for worker in line.tier if worker in ranks]
        heapq.heapify(line.heap)
        line.seen = len(self._changes)

    def _surface(self, heap: list[Rank[W]]) -> bool:
        """Bring a worker with room and its true rank to the top; False when all are full."""
        while heap:
            rank = heap[0]
            worker = rank[3]
            current = self._ranks.get(worker)
            if current is None or current[0] >= self._loads[worker].max_outstanding:
                heapq.heappop(heap)
            elif rank != current:
                heapq.heapreplace(heap, current)
            else:
                return True
        return False

    def _least_outstanding(self, tier: Sequence[W], avoid: Collection[W]) -> W | None:
        heap = self._heap(tier)
        avoided: list[Rank[W]] = []
        chosen: W | None = None
        while self._surface(heap):
            if heap[0][3] not in avoid:
                chosen = heap[0][3]
                break
            avoided.append(heapq.heappop(heap))
        if chosen is None and avoided:
            chosen = avoided[0][3]
        for entry in avoided:
            heapq.heappush(heap, entry)
        return chosen

    def _give(self, worker: W) -> None:
        outstanding, _, idle_since, _ = self._ranks[worker]
        self._given += 1
        self._given_to.add(worker)
        self._ranks[worker] = (outstanding + 1, self._given, idle_since, worker)
