"""What the dispatcher would do with one task now, without doing it: a pass of its own that writes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

from queueapp.conf import config
from queueapp.dispatch import Dispatcher, Tiers
from queueapp.domain.choice import tiers_allowed
from queueapp.domain.matching import Profile, ProfileIndex, tiers_of_profiles
from queueapp.domain.reasons import Foreseen
from queueapp.models import Queue
from queueapp.ready import ReadyTask, number_ahead, routes_with_ready_tasks

COUNTED_AHEAD = 1000

ROUTES_LOOKED_AT = 1000
MATCHES_TRIED = 50_000
"""Profiles on routes: an answer stays a matter of milliseconds, however many there are of either."""


class Foresight(Dispatcher):
    """Knows nothing of what the dispatcher of this process remembers: it reads what it needs, once."""

    def __init__(self) -> None:
        super().__init__()
        self._index = ProfileIndex(())
        self._tried = 0

    def of(self, task: ReadyTask, name: str, attrs: dict[str, str], now: datetime) -> Foreseen:
        """The fate of a task that is ready, or would be if it were submitted now. In a paused queue it
        has none."""
        fleet = self._muster()
        self._index = ProfileIndex(self._matched_profiles)
        if not self._remember(task.route_id, name, attrs):
            return Foreseen(None)
        self._hot.add(task.route_id)
        swept = routes_with_ready_tasks(None, ROUTES_LOOKED_AT)
        self.hear(swept)
        self._learn_routes()
        self._leave_out_paused()
        if task.route_id not in self._hot:
            return Foreseen(None)
        found = self._find(fleet, now)
        choices = self._choose(self._turns(task, found.first), fleet, found.limits, now)
        chosen = {choice.task_id: choice.session_id for choice in choices}
        ahead = number_ahead(self._rivals(task, now), task, now, COUNTED_AHEAD + 1)
        are_all_known = len(swept) < ROUTES_LOOKED_AT and self._tried < MATCHES_TRIED and ahead <= COUNTED_AHEAD
        return Foreseen(chosen.get(task.task_id), min(ahead, COUNTED_AHEAD), are_all_known)

    def _match(self, name: str, attrs: dict[str, str]) -> Tiers:
        if self._tried >= MATCHES_TRIED:
            return ()
        near = self._index.near(name, attrs)
        self._tried += len(near)
        return tiers_of_profiles(near, name, attrs)

    def _leave_out_paused(self) -> None:
        """Their tasks come before nobody's."""
        paused = set(Queue.objects.paused().values_list("name", flat=True))
        self._hot = {route_id for route_id in self._hot if self._routes[route_id].name not in paused}

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
