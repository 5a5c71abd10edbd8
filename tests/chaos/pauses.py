"""Where no task ended for a while: how long, and whether anybody was there who could have done one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from tests.chaos.faults import Spell
from tests.chaos.site import SERVERS, WORKERS


@dataclass(frozen=True, order=True)
class Pause:
    """`seconds` comes first: the longest is the greatest."""

    seconds: float
    began: datetime
    ended: datetime

    def told(self, since: datetime, spells: Iterable[Spell]) -> str:
        """With what went on meanwhile, in seconds after the start."""

        def at(moment: datetime) -> str:
            return f"{(moment - since).total_seconds():.1f}"

        meanwhile = [
            f"{spell.kind} ({spell.number}) {at(spell.began)}-{at(spell.ended)}"
            for spell in spells
            if spell.began < self.ended and spell.ended > self.began
        ]
        return f"{self.seconds:.1f} s from {at(self.began)} s; meanwhile {', '.join(meanwhile) or 'nothing'}"


def longest(ends: Iterable[datetime]) -> Pause:
    """Between one task's end and the next one's."""
    return max(_pause(*pair) for pair in pairwise(sorted(ends)))


def longest_of_the_able(ends: Iterable[datetime], spells: Sequence[Spell]) -> Pause:
    """The same, counting only while PostgreSQL, a server and a worker of that server were all well."""
    turns = sorted({moment for spell in spells for moment in (spell.began, spell.ended)})
    pauses = []
    for earlier, later in pairwise(sorted(ends)):
        bounds = [earlier, *(turn for turn in turns if earlier < turn < later), later]
        began = earlier
        for start, end in pairwise(bounds):
            if not _is_able([spell for spell in spells if spell.began <= start and spell.ended >= end]):
                pauses.append(_pause(began, start))
                began = end
        pauses.append(_pause(began, later))
    return max(pauses)


def _pause(began: datetime, ended: datetime) -> Pause:
    return Pause((ended - began).total_seconds(), began, ended)


def _is_able(suffering: Sequence[Spell]) -> bool:
    ill = {(spell.kind.split()[0], spell.number) for spell in suffering}
    return ("postgresql", 0) not in ill and any(
        ("server", worker % SERVERS) not in ill and ("worker", worker) not in ill for worker in range(WORKERS)
    )
