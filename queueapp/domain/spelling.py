"""Names that nobody knows and that look like one that somebody does."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher

from queueapp.domain.matching import Subscription

ALIKE = 0.75
ALIKE_WHEN_SHORT = 0.66
"""Two of three letters, so that `tga` is taken for `tag`."""
SHORT = 4

NAMES_COMPARED = 1000


@dataclass(frozen=True, slots=True)
class Suggestion:
    """`given` is a name or an attribute of a task, or a name or a criterion of a worker: `of` says which."""

    of: str
    given: str
    meant: str
    message: str


def name_suggestion(name: str, offered: Iterable[str]) -> Suggestion | None:
    """For a task whose name no worker offers."""
    meant = closest(name, offered)
    if meant is None:
        return None
    return Suggestion("name", name, meant, f"no worker offers {name}: did you mean {meant}?")


def offer_suggestion(name: str, submitted: Iterable[str]) -> Suggestion | None:
    """For a name that workers offer and of which there is no task."""
    meant = closest(name, submitted)
    if meant is None:
        return None
    return Suggestion("offer", name, meant, f"there is no task {name}: did its workers mean {meant}?")


def attribute_suggestions(attrs: Mapping[str, str], offers: Collection[Subscription]) -> list[Suggestion]:
    """For a task of the offers' name that lacks attributes for which their filters ask.

    Of two names that look alike, the one that another filter knows too is taken to be right; where none does, the
    filter's is, for whoever asks can see to the task.
    """
    known = {criterion for offer in offers for criterion, _ in offer.criteria}
    found: dict[tuple[str, str], Suggestion] = {}
    for offer in offers:
        of_this = {criterion for criterion, _ in offer.criteria}
        others = attrs.keys() - of_this  # what the same filter names too is another thing
        for miss in offer.misses(attrs):
            criterion = miss.criterion
            if miss.value is None and (attribute := closest(criterion, others)) is not None:
                found[criterion, attribute] = _suggestion(criterion, attribute, attribute in known)
    return [found[pair] for pair in sorted(found)]


def _suggestion(criterion: str, attribute: str, is_attribute_known: bool) -> Suggestion:
    said = f"a worker's filter asks for {criterion}, the task has {attribute}"
    if is_attribute_known:
        return Suggestion("criterion", criterion, attribute, f"{said}: did the filter mean {attribute}?")
    return Suggestion("attribute", attribute, criterion, f"{said}: did you mean {criterion}?")


def closest(name: str, known: Iterable[str]) -> str | None:
    """The one that is most like the name, if any is enough; letters' case apart."""
    enough = ALIKE_WHEN_SHORT if len(name) <= SHORT else ALIKE
    matcher = SequenceMatcher(autojunk=False)
    matcher.set_seq2(name.casefold())
    best: tuple[float, str] | None = None
    for other in sorted(known)[:NAMES_COMPARED]:
        matcher.set_seq1(other.casefold())
        if min(matcher.real_quick_ratio(), matcher.quick_ratio()) < enough:
            continue
        ratio = matcher.ratio()
        if ratio >= enough and other != name and (best is None or ratio > best[0]):
            best = ratio, other
    return best[1] if best else None
