"""Why a task is where it is: a verdict on each worker, the reasons, and one sentence (contract, section 5)."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from queueapp.domain.reasons import LOOKS, Case, Cause, Facts, Foreseen, Limit, Pause, Reason
from queueapp.domain.spelling import Suggestion, attribute_suggestions, name_suggestion
from queueapp.domain.states import TaskState
from queueapp.domain.verdicts import Group, Standing, Verdict, Worker, groups_of, judge, nearest_miss


@dataclass(frozen=True, slots=True)
class Explanation:
    """`reasons`: the first is what holds it back first. `since`: since when it is where it is (None: it does not
    exist). `foreseen` is None where the task takes part in no choice."""

    facts: Facts
    summary: str
    reasons: tuple[Reason, ...]
    since: datetime | None
    foreseen: Foreseen | None
    chosen: Verdict | None
    verdicts: Sequence[Verdict]
    groups: Sequence[Group]
    nearest: Verdict | None
    suggestions: Sequence[Suggestion]


def explain(
    facts: Facts,
    pause: Pause | None,
    limits: Sequence[Limit],
    workers: Collection[Worker],
    foreseen: Foreseen | None,
    offered: Collection[str],
    now: datetime,
) -> Explanation:
    """`limits`: of its queue and of its key, reached or not. `workers`: those that are attached; `offered`: the
    names that they offer, if none of them offers the task's. `foreseen`: None where the task is not ready or its
    queue is paused."""
    verdicts = judge(
        workers,
        facts.name,
        facts.attrs,
        allowed=facts.levels_allowed(now),
        chosen=foreseen.worker if foreseen else None,
        is_behind=foreseen is not None and foreseen.ahead > 0,
        holder=facts.worker if facts.state == TaskState.ASSIGNED else None,
        avoid=facts.avoid,
    )
    case = Case(facts, pause, limits, foreseen, now, verdicts, groups_of(verdicts, facts.name))
    reasons = tuple(reason for look in LOOKS for reason in look(case))
    suggestions = _suggestions(facts, workers, offered)
    return Explanation(
        facts=facts,
        summary=_summary(facts, reasons, suggestions),
        reasons=reasons,
        since=_since(facts),
        foreseen=foreseen,
        chosen=next((verdict for verdict in verdicts if verdict.standing is Standing.CHOSEN), None),
        verdicts=verdicts,
        groups=case.groups,
        nearest=nearest_miss(verdicts),
        suggestions=suggestions,
    )


def _suggestions(facts: Facts, workers: Collection[Worker], offered: Collection[str]) -> list[Suggestion]:
    offers = {offer for worker in workers for offer in worker.offers}
    if offers:
        return attribute_suggestions(facts.attrs, offers)
    suggestion = name_suggestion(facts.name, offered)
    return [suggestion] if suggestion else []


def _since(facts: Facts) -> datetime | None:
    """Since when the task is where it is."""
    if not facts.exists:
        return None
    if facts.finished_at is not None:
        return facts.finished_at
    if facts.state == TaskState.ASSIGNED:
        return facts.assigned_at
    if facts.delayed_until is not None:
        return facts.ended_at if facts.attempt else facts.created_at
    return facts.waiting_since


def _summary(facts: Facts, reasons: Sequence[Reason], suggestions: Sequence[Suggestion]) -> str:
    clauses = [reason.message for reason in reasons]
    causes = {reason.cause for reason in reasons}
    if causes & {Cause.NO_MATCH, Cause.NO_WORKER, Cause.DRAINING}:
        clauses += [suggestion.message for suggestion in suggestions[:1]]
    if causes & {Cause.FINISHED, Cause.ASSIGNED}:
        text = "; ".join(clauses)
    else:
        verb = "is next" if Cause.READY in causes else "waits"
        hypothetical = {"is next": "would be next", "waits": "would wait"}[verb]
        text = f"it {verb if facts.exists else hypothetical}: {'; '.join(clauses)}"
    ending = "" if text.endswith("?") else "."
    return text[:1].upper() + text[1:] + ending
