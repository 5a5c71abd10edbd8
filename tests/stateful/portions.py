"""What a pass leaves to those that follow, on the side of the model: see docs/decisions/0018."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import pytest

from queueapp import inbox as inboxes
from queueapp import sessions
from queueapp.domain.states import Outcome
from queueapp.inbox import Inbox
from queueapp.models import Attempt
from queueapp.sessions import Closing
from stateful.model import Model, ModelTask, ModelWorker

MANY = 500
"""No example has so many tasks, workers or passes."""


@dataclass(frozen=True)
class Sizes:
    """Of what is done at once: the work of a pass, the sessions and the tasks of endings in one transaction, the
    passes of a turn. By themselves no example comes to the end of any."""

    work_a_pass: int = inboxes.WORK_A_PASS
    ended_at_once: int = MANY
    tasks_at_once: int = MANY
    passes_a_turn: int = MANY

    def apply(self, patch: pytest.MonkeyPatch) -> None:
        patch.setattr(inboxes, "WORK_A_PASS", self.work_a_pass)
        patch.setattr(sessions, "ENDED_AT_ONCE", self.ended_at_once)
        patch.setattr(sessions, "TASKS_AT_ONCE", self.tasks_at_once)


def taken(inbox: Inbox, left: Inbox) -> Inbox:
    """What of its inbox a pass has dealt with, but for the ends of sessions. It has lost none of the rest."""
    now = Inbox()
    for name in ("attachments", "reports", "signs", "releases", "capacities", "drains", "announced"):
        items, later = getattr(inbox, name), getattr(left, name)
        number = len(items) - len(later)
        assert items[number:] == later, f"{name}: {later} are left of {items}"
        setattr(now, name, items[:number])
    return now


def end_or_hold_back(model: Model, closings: Sequence[Closing], left: Inbox, now: datetime) -> None:
    """Sessions end when all has been taken in that was said before. Until then they are given nothing more."""
    if left.brings_anything():
        assert left.closings == closings, f"only {left.closings} wait for what was said before"
        for session_id in [*left.drains, *(closing.session_id for closing in closings)]:
            model.drain(session_id)
    else:
        to_end = end_some(model, closings, now)
        assert left.closings == to_end, f"{left.closings} are left instead of {to_end}"


def end_orphans(model: Model, now: datetime) -> bool:
    """Some of the sessions whose process has ended. Whether others are left."""
    return bool(end_some(model, released(model.orphans()), now))


def released(workers: Iterable[ModelWorker]) -> list[Closing]:
    """The ends of their sessions as the server lets go of them."""
    return [Closing(worker.id, Outcome.RELEASED, 1012) for worker in workers]


def end_some(model: Model, closings: Sequence[Closing], now: datetime) -> list[Closing]:
    """As many as one transaction may. Returns those that are left, which are given nothing more."""
    first, left = closings[: sessions.ENDED_AT_ONCE], list(closings[sessions.ENDED_AT_ONCE :])
    outcomes = {closing.session_id: str(closing.outcome) for closing in first}
    held = [task for session_id in outcomes for task in model.held_by(session_id)]
    if len(held) <= sessions.TASKS_AT_ONCE:
        for session_id, outcome in outcomes.items():
            model.close(session_id, outcome, now)
    else:
        given_back, left = _ended(held)[: sessions.TASKS_AT_ONCE], list(closings)
        assert len(given_back) == sessions.TASKS_AT_ONCE, f"only {given_back} of {held} were given back"
        for task in given_back:
            assert task.holder is not None
            task.end_attempt(outcomes[task.holder], now)
    for closing in left:
        model.drain(closing.session_id)
    return left


def _ended(tasks: Iterable[ModelTask]) -> list[ModelTask]:
    """Those whose present attempt has ended by the rows, in that order: which of them are taken back first is the
    product's to choose."""
    by_attempt = {(task.id, task.attempt): task for task in tasks}
    kept = Attempt.objects.filter(task__in=[task_id for task_id, _ in by_attempt]).order_by("id")
    ended = [by_attempt.get(attempt) for attempt in kept.values_list("task", "number")]
    return [task for task in ended if task is not None]
