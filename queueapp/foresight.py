"""What the dispatcher would do with one task now, without doing it: a pass of its own that writes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

from queueapp.conf import config
from queueapp.dispatch import Dispatcher
from queueapp.domain.choice import tiers_allowed
from queueapp.domain.matching import Profile, ProfileIndex
from queueapp.domain.reasons import Foreseen, Limit
from queueapp.fleet import Tiers
from queueapp.limits import Limits
from queueapp.models import Queue, Task
from queueapp.ready import ReadyTask, number_ahead, number_in_line, routes_with_ready_tasks

COUNTED_AHEAD = 1000

ROUTES_LOOKED_AT = 1000
MATCHES_TRIED = 50_000
"""Profiles on routes: an answer stays a matter of milliseconds, however many there are of either."""


class Foresight(Dispatcher):
    """Knows nothing of what the dispatcher of this process remembers: it reads what it needs, once."""

    def __init__(self) -> None:
        super().__init__()
        self._tried = 0

    def of(
        self, task: ReadyTask, name: str, attrs: dict[str, str], limits: Sequence[Limit], now: datetime
    ) -> Foreseen:
        """The fate of a task that is ready but for these limits, or would be if it were submitted now. In a paused
        queue it has none."""
        self._fleet.muster()
        self._matched_profiles = frozenset(self._fleet.profiles)
        self._index = ProfileIndex(self._matched_profiles)
        if not self._remember(task.route_id, name, attrs):
            return Foreseen(None)
        self._hot.add(task.route_id)
        swept = routes_with_ready_tasks(None, ROUTES_LOOKED_AT)
        self._rung.update(swept)
        self._learn_routes()
        found = self._find(config().pass_size, now)
        self._leave_out_full(found.limits, name)
        ahead = number_ahead(self._rivals(task, now), task, now, COUNTED_AHEAD + 1)
        ahead += sum(limit.held_back_before for limit in limits)
        chosen = {}
        if not any(limit.is_reached for limit in limits):
            choices = self._choose(self._turns(task, found.first), found.limits, now)
            chosen = {choice.task_id: choice.session_id for choice in choices}
        are_all_known = len(swept) < ROUTES_LOOKED_AT and self._tried < MATCHES_TRIED and ahead <= COUNTED_AHEAD
        return Foreseen(chosen.get(task.task_id), min(ahead, COUNTED_AHEAD), are_all_known)

    def _match(self, name: str, attrs: dict[str, str]) -> Tiers:
        if self._tried >= MATCHES_TRIED:
            return ()
        self._tried += len(self._index.near(name, attrs))
        return super()._match(name, attrs)

    def _leave_out_full(self, limits: Limits, own: str) -> None:
        """Tasks of queues that are paused or at their limit come before nobody's but those of their queue."""
        names = ((route_id, self._routes[route_id].name) for route_id in self._hot)
        self._hot = {route_id for route_id, name in names if name == own or not limits.is_queue_full(name)}

    def _turns(self, task: ReadyTask, first: Iterable[ReadyTask]) -> Sequence[ReadyTask]:
        """Those whose turn it is in the next pass, with a task among them that has no row, if it is its turn."""
        in_order = sorted({each.task_id: each for each in (*first, task)}.values(), key=lambda each: each.order)
        return in_order[: config().pass_size]

    def _rivals(self, task: ReadyTask, now: datetime) -> dict[UUID, int]:
        """The routes whose tasks may be given to those who may be given this one, with how many levels down."""
        tiers = self._routes[task.route_id].tiers
        waited = (now - task.waiting_since).total_seconds()
        wanted: frozenset[Profile] = frozenset().union(*tiers[: tiers_allowed(waited, task.spill_after_seconds)])
        rivals: dict[UUID, int] = {}
        for route_id in self._hot:
            levels = (level for level, tier in enumerate(self._routes[route_id].tiers) if tier & wanted)
            level = next(levels, None)
            if level is not None:
                rivals[route_id] = level
        return rivals


def limits_of(queue: Queue | None, task: ReadyTask, name: str, is_held_back: bool) -> list[Limit]:
    """Those of the task's queue and of its concurrency key, where there are such."""
    running = Task.objects.assigned().filter(name=name)
    limits = []
    if queue is not None and queue.concurrency is not None:
        limits.append(Limit(running.count(), queue.concurrency))
    if task.concurrency_key is not None:
        allowed = queue.concurrency_per_key if queue else None
        of_key = running.filter(concurrency_key=task.concurrency_key).count()
        before, held_back = number_in_line(name, task, COUNTED_AHEAD + 1) if is_held_back else (0, 0)
        is_exact = before <= COUNTED_AHEAD
        before = min(before, COUNTED_AHEAD)
        limits.append(Limit(of_key, allowed or 1, task.concurrency_key, before, held_back, is_exact))
    return limits
