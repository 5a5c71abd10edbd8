"""How each worker stands to a task, with the criterion that failed: what `matching` decides, told one by one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from queueapp.domain.matching import Miss, Profile, best_specificity


class Standing(StrEnum):
    """In the order of nearness. LESS_SPECIFIC matches, but others match more specifically; MISSING and VALUE name
    the criterion that failed: the task lacks the attribute, or has a value that is not accepted."""

    CHOSEN = "chosen"
    HOLDER = "holder"
    CANDIDATE = "candidate"
    FULL = "full"
    LESS_SPECIFIC = "less_specific"
    DRAINING = "draining"
    VALUE = "wrong_value"
    MISSING = "missing_attribute"
    NAME = "wrong_name"


ORDER = list(Standing)


@dataclass(frozen=True, slots=True)
class Worker:
    """An attached worker. `offers`: its subscriptions, or those of the one task name that is spoken of."""

    id: UUID
    label: str
    is_draining: bool
    outstanding: int
    max_outstanding: int
    offers: Profile

    @property
    def has_room(self) -> bool:
        return self.outstanding < self.max_outstanding

    @property
    def load(self) -> str:
        return f"{self.outstanding}/{self.max_outstanding} outstanding"

    def __str__(self) -> str:
        return self.label or str(self.id)


@dataclass(frozen=True, slots=True)
class Verdict:
    """`specificity` is None where nothing matches; `misses` are then those of the offer that comes nearest."""

    worker: Worker
    standing: Standing
    message: str
    specificity: int | None = None
    misses: tuple[Miss, ...] = ()

    @property
    def criterion(self) -> str | None:
        return self.misses[0].criterion if self.misses else None

    @property
    def takes_part(self) -> bool:
        """Matches, and is online."""
        return self.specificity is not None and not self.worker.is_draining

    @property
    def nearness(self) -> tuple[int, int, int, UUID]:
        return ORDER.index(self.standing), len(self.misses), self.worker.outstanding, self.worker.id


@dataclass(frozen=True, slots=True)
class Group:
    """Workers of one standing and, where a criterion failed, of the same one."""

    standing: Standing
    criterion: str | None
    workers: int
    message: str


def tiers_of(verdicts: Iterable[Verdict]) -> list[list[Verdict]]:
    """The workers that may be chosen, by specificity, highest first."""
    by_specificity: dict[int, list[Verdict]] = {}
    for verdict in verdicts:
        if verdict.takes_part:
            by_specificity.setdefault(verdict.specificity or 0, []).append(verdict)
    return [by_specificity[specificity] for specificity in sorted(by_specificity, reverse=True)]


def judge(
    workers: Iterable[Worker],
    name: str,
    attrs: Mapping[str, str],
    *,
    allowed: int = 1,
    chosen: UUID | None = None,
    is_behind: bool = False,
    holder: UUID | None = None,
    avoid: Collection[UUID] = (),
) -> list[Verdict]:
    """A verdict for each worker, the nearest first. `allowed`: how many levels of specificity may take the task
    now; `is_behind`: others come before it; `avoid`: workers that lost it before."""
    matched = [_matched(worker, name, attrs) for worker in workers]
    tiers = tiers_of(matched)
    specificities = [tier[0].specificity or 0 for tier in tiers]
    lowest = specificities[:allowed][-1] if tiers else 0
    ranked = _Ranks(specificities[0] if tiers else 0, lowest, chosen, is_behind, avoid, tiers)
    verdicts = [
        _holding(each) if each.worker.id == holder else ranked.placed(each) if each.takes_part else each
        for each in matched
    ]
    return sorted(verdicts, key=lambda verdict: verdict.nearness)


def groups_of(verdicts: Iterable[Verdict], name: str) -> list[Group]:
    """The verdicts counted by what they say, the nearest first."""
    counted = Counter((verdict.standing, verdict.criterion) for verdict in verdicts)
    return [
        Group(standing, criterion, number, f"{number} {_said(standing, criterion, name, number)}")
        for (standing, criterion), number in sorted(
            counted.items(), key=lambda item: (ORDER.index(item[0][0]), -item[1], item[0][1] or "")
        )
    ]


def nearest_miss(verdicts: Sequence[Verdict]) -> Verdict | None:
    """The worker that offers the name and would match if the fewest things were otherwise; of these the one that
    asks for most that the task meets."""
    missed = [v for v in verdicts if v.misses or (v.specificity is not None and v.worker.is_draining)]
    return min(missed, key=lambda v: (len(v.misses), -_met(v), v.nearness), default=None)


def _met(verdict: Verdict) -> int:
    if verdict.specificity is not None:
        return verdict.specificity
    failed = {miss.criterion for miss in verdict.misses}
    offered = [{criterion for criterion, _ in offer.criteria} for offer in verdict.worker.offers]
    return max((len(criteria - failed) for criteria in offered if failed <= criteria), default=0)


def _matched(worker: Worker, name: str, attrs: Mapping[str, str]) -> Verdict:
    """The verdict as far as the worker alone is looked at."""
    if not worker.offers:
        return Verdict(worker, Standing.NAME, f"does not offer {name}")
    specificity = best_specificity(worker.offers, name, attrs)
    if specificity is None:
        misses = min((offer.misses(attrs) for offer in worker.offers), key=lambda m: (len(m), list(map(str, m))))
        standing = Standing.MISSING if misses[0].value is None else Standing.VALUE
        return Verdict(worker, standing, "; ".join(map(str, misses)), None, misses)
    if worker.is_draining:
        return Verdict(worker, Standing.DRAINING, "matches, but drains: it is given no more tasks", specificity)
    return Verdict(worker, Standing.CANDIDATE, "", specificity)


def _holding(verdict: Verdict) -> Verdict:
    return Verdict(verdict.worker, Standing.HOLDER, "holds the task", verdict.specificity, verdict.misses)


@dataclass(frozen=True, slots=True)
class _Ranks:
    """The matching workers beside each other. `highest` and `lowest`: the specificities that may take the task;
    `is_behind`: others are given to them first."""

    highest: int
    lowest: int
    chosen: UUID | None
    is_behind: bool
    avoid: Collection[UUID]
    tiers: Sequence[Sequence[Verdict]]

    def placed(self, verdict: Verdict) -> Verdict:
        standing, message = self._standing(verdict.worker, verdict.specificity or 0)
        return Verdict(verdict.worker, standing, message, verdict.specificity)

    def _standing(self, worker: Worker, specificity: int) -> tuple[Standing, str]:
        is_lower = specificity < self.highest
        level = f", less specific ({specificity} of {self.highest} criteria)" if is_lower else ""
        if worker.id == self.chosen:
            return Standing.CHOSEN, f"would be taken: {self._why(worker, specificity)}{level}"
        if specificity < self.lowest:
            return Standing.LESS_SPECIFIC, f"matches{level}; {worker.load}"
        if not worker.has_room:
            return Standing.FULL, f"full: {worker.load}{level}"
        lost = ", lost this task before" if worker.id in self.avoid else ""
        return Standing.CANDIDATE, f"has room: {worker.load}{level}{lost}"

    def _why(self, worker: Worker, specificity: int) -> str:
        """The contract's rule that decided between it and the others of its specificity that have room."""
        tier = next(tier for tier in self.tiers if tier[0].specificity == specificity)
        others = [v.worker for v in tier if v.worker.has_room and v.worker.id != worker.id]
        preferred = [other for other in others if other.id not in self.avoid]
        if not others:
            return f"the only one of its specificity with room ({worker.load})"
        if not preferred and worker.id not in self.avoid:
            return f"the only one with room that has not lost the task before ({worker.load})"
        if self.is_behind:
            return f"the first choice after what is ahead of the task ({worker.load})"
        fewest = min(other.outstanding for other in preferred or others)
        if worker.outstanding < fewest:
            return f"the fewest outstanding of {len(others) + 1} with room ({worker.load})"
        return f"idle longest of those with the fewest outstanding ({worker.load})"


def _said(standing: Standing, criterion: str | None, name: str, number: int) -> str:
    one = number == 1
    match standing:
        case Standing.CHOSEN:
            return "would be taken"
        case Standing.HOLDER:
            return "holds it"
        case Standing.CANDIDATE:
            return "with room"
        case Standing.FULL:
            return "full"
        case Standing.LESS_SPECIFIC:
            return "less specific"
        case Standing.DRAINING:
            return "draining"
        case Standing.VALUE | Standing.MISSING:
            return f"{'fails' if one else 'fail'} {criterion}"
        case Standing.NAME:
            return f"{'does' if one else 'do'} not offer {name}"
