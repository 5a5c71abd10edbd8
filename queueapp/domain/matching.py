"""Which subscription matches which task, and how specifically (contract, section 2)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

VALUES_TOLD = 5
"""Of a long list of accepted values; the rest is counted."""


@dataclass(frozen=True, slots=True)
class Miss:
    """A criterion that a task does not meet. `value`: what the task says; None when it lacks the attribute."""

    criterion: str
    accepted: frozenset[str]
    value: str | None

    def __str__(self) -> str:
        listed = ", ".join(sorted(self.accepted)[:VALUES_TOLD])
        if len(self.accepted) > VALUES_TOLD:
            listed += f" and {len(self.accepted) - VALUES_TOLD} more"
        said = "says nothing" if self.value is None else f"says {self.value}"
        return f"{self.criterion}: task {said}, worker accepts {listed}"


@dataclass(frozen=True, slots=True)
class Subscription:
    """A task name and a filter: each criterion with the values it accepts, sorted by criterion."""

    name: str
    criteria: tuple[tuple[str, frozenset[str]], ...] = ()

    @classmethod
    def of(cls, name: str, filter: Mapping[str, Iterable[str]] | None = None) -> Subscription:
        pairs = ((criterion, frozenset(values)) for criterion, values in (filter or {}).items())
        return cls(name, tuple(sorted(pairs, key=lambda pair: pair[0])))

    @property
    def specificity(self) -> int:
        return len(self.criteria)

    def matches(self, name: str, attrs: Mapping[str, str]) -> bool:
        return self.name == name and all(attrs.get(criterion) in accepted for criterion, accepted in self.criteria)

    def misses(self, attrs: Mapping[str, str]) -> tuple[Miss, ...]:
        """The criteria that a task of the subscription's name does not meet; none when it matches."""
        return tuple(
            Miss(criterion, accepted, attrs.get(criterion))
            for criterion, accepted in self.criteria
            if attrs.get(criterion) not in accepted
        )


Profile = frozenset[Subscription]
"""All that a worker offers. Workers with equal profiles match the same tasks equally well."""


def best_specificity(profile: Iterable[Subscription], name: str, attrs: Mapping[str, str]) -> int | None:
    """The specificity with which a worker matches: that of its most specific matching subscription."""
    return max((s.specificity for s in profile if s.matches(name, attrs)), default=None)


def tiers_of_profiles(
    profiles: Iterable[Profile], name: str, attrs: Mapping[str, str]
) -> tuple[frozenset[Profile], ...]:
    """The matching profiles by specificity, highest first. The first tier holds the candidates."""
    by_specificity: dict[int, set[Profile]] = {}
    for profile in profiles:
        specificity = best_specificity(profile, name, attrs)
        if specificity is not None:
            by_specificity.setdefault(specificity, set()).add(profile)
    return tuple(frozenset(by_specificity[s]) for s in sorted(by_specificity, reverse=True))


class ProfileIndex:
    """`tiers_of_profiles` for one task after another: looks only at the profiles that have a value in common with
    the task, in that criterion of theirs which tells most of them apart."""

    def __init__(self, profiles: Iterable[Profile]) -> None:
        offers = [(subscription, profile) for profile in profiles for subscription in profile]
        values: dict[tuple[str, str], set[str]] = {}
        for subscription, _ in offers:
            for criterion, accepted in subscription.criteria:
                values.setdefault((subscription.name, criterion), set()).update(accepted)
        self._by_value: dict[tuple[str, str, str], set[Profile]] = {}
        self._of_all: dict[str, set[Profile]] = {}
        for subscription, profile in offers:
            name = subscription.name
            if not subscription.criteria:
                self._of_all.setdefault(name, set()).add(profile)
                continue
            criterion, accepted = max(subscription.criteria, key=lambda pair: len(values[name, pair[0]]))
            for value in accepted:
                self._by_value.setdefault((name, criterion, value), set()).add(profile)

    def near(self, name: str, attrs: Mapping[str, str]) -> set[Profile]:
        """All the profiles that match, and few others."""
        sets = [self._by_value.get((name, criterion, value), set()) for criterion, value in attrs.items()]
        return set().union(self._of_all.get(name, set()), *sets)
