"""How far a key reaches (contract, section 6): task names by globs, and bounds for the filters of workers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from queueapp.domain.matching import Subscription
from queueapp.domain.names import attribute_problem, name_allowed

SHOWN_NAME_LENGTH = 60


@dataclass(frozen=True, slots=True)
class Reach:
    """`task_globs`: the names that may be touched, none for every name. `bounds`: criterion → values, of which
    each filter must accept some and no others: without the criterion it would accept any."""

    task_globs: tuple[str, ...] = ()
    bounds: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, task_globs: Any, bounds: Any) -> Reach:
        """From the columns of a key. People write there too: what cannot be read allows nothing."""
        bounds = {} if bounds is None else bounds
        if not isinstance(bounds, dict) or not all(map(_are_texts, [task_globs, *bounds.values()])):
            return NOTHING
        return cls(tuple(task_globs), {criterion: frozenset(values) for criterion, values in bounds.items()})

    def includes(self, name: str) -> bool:
        return name_allowed(name, self.task_globs)

    def excess(self, subscription: Subscription) -> str | None:
        """How the subscription goes beyond, in words; None when it stays within."""
        name = subscription.name[:SHOWN_NAME_LENGTH]
        if not self.includes(subscription.name):
            return f"This key may not perform {name}."
        accepted = dict(subscription.criteria)
        for criterion, allowed in sorted(self.bounds.items()):
            limit = f"This key allows only {criterion}={','.join(sorted(allowed))}"
            if criterion not in accepted:
                return f"{limit}; {name} has no such filter."
            if beyond := accepted[criterion] - allowed:
                return f"{limit}; {name} has {','.join(sorted(beyond))}."
        return None


NOTHING = Reach(("",))
"""A task's name is never empty."""


def parse_bounds(texts: Iterable[str]) -> dict[str, list[str]]:
    """Bounds as people write them, `cloud=aws,gcp`; repeats add up. ValueError says what cannot be used."""
    bounds: dict[str, list[str]] = {}
    for text in texts:
        criterion, _, listed = text.partition("=")
        bounds.setdefault(criterion.strip(), []).extend(value.strip() for value in listed.split(","))
    for criterion, values in bounds.items():
        if not all(values):
            raise ValueError(f"Bounds look like cloud=aws,gcp: {criterion or 'one'} has no value or an empty one.")
        for value in values:
            if problem := attribute_problem(criterion, value):
                raise ValueError(f"Bounds {criterion[:SHOWN_NAME_LENGTH]}: {problem}.")
    return {criterion: sorted(set(values)) for criterion, values in sorted(bounds.items())}


def bounds_text(bounds: Mapping[str, Iterable[str]] | None) -> str:
    """By criterion: `account=1 cloud=aws,gcp`."""
    return " ".join(f"{criterion}={','.join(values)}" for criterion, values in sorted((bounds or {}).items()))


def _are_texts(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)
