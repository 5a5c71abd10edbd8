"""What has come in at a process, for its next pass."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, replace
from itertools import accumulate
from typing import Any
from uuid import UUID

from queueapp.lifecycle import Report, SignOfLife
from queueapp.sessions import Attachment, Closing

WORK_A_PASS = 5000
"""How much of an inbox one pass takes in, in tenths of a millisecond: half a second. Without a bound what comes in
while a large pass runs makes the next one larger still, until one takes longer than a lease lasts, and is undone,
and begun again."""

_WORK: dict[str, Callable[[Any], int]] = {
    "attachments": lambda attachment: 5 + len(attachment.offers) // 20,
    "signs": lambda sign: 1,  # before results, which may be many: a sign of life that waits too long is none
    "reports": lambda report: 1 if report.done else 3,
    "releases": lambda release: 3,
    "capacities": lambda capacity: 5,
    "drains": lambda drain: 1,
    "closings": lambda closing: 0,  # of these it ends as many as it can
    "announced": lambda task: 1,
    "wanted": lambda task: 1,
}
"""What each takes, at most, in the order in which they come to be dealt with."""


@dataclass(slots=True)
class Inbox:
    """What has come in since the last pass, in the order in which it is dealt with.

    `releases` are (session, task), `capacities` (session, tasks). `announced` are tasks that another process has
    assigned here, `wanted` those that their workers have room for only now. `roster`: workers or queues changed.
    `keys`: tasks of concurrency keys have. `scheduled`: tasks are delayed. `tick`: the slow poll, the clock's work
    and the lease are due.
    """

    attachments: list[Attachment] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)
    signs: list[SignOfLife] = field(default_factory=list)
    releases: list[tuple[UUID, UUID]] = field(default_factory=list)
    capacities: list[tuple[UUID, int]] = field(default_factory=list)
    drains: list[UUID] = field(default_factory=list)
    closings: list[Closing] = field(default_factory=list)
    routes: list[UUID] = field(default_factory=list)
    announced: list[UUID] = field(default_factory=list)
    wanted: list[UUID] = field(default_factory=list)
    roster: bool = False
    scheduled: bool = False
    keys: bool = False
    tick: bool = False

    def __bool__(self) -> bool:
        return any(getattr(self, each.name) for each in fields(self))

    def brings_anything(self) -> bool:
        """Whether there is something to be written but the ends of sessions; the rest only says where to look."""
        return bool(
            self.attachments or self.reports or self.signs or self.releases or self.capacities or self.drains
        )

    def portion(self) -> tuple[Inbox, Inbox]:
        """What one pass deals with, and the rest: from the first item on that is too much. In the order of things,
        for a result counts that arrived before the end of its session."""
        now, later = replace(self), Inbox()
        left = WORK_A_PASS
        for name, work in _WORK.items():
            items = getattr(self, name)
            needed = list(accumulate(min(work(item), WORK_A_PASS) for item in items))
            number = bisect_right(needed, left)
            if number < len(items):
                setattr(now, name, items[:number])
                setattr(later, name, items[number:])
                left = -1  # nothing of what comes after it
            elif items:
                left -= needed[-1]
        return now, later

    def followed_by(self, later: Inbox) -> Inbox:
        """Both in one, this one's items first."""
        return Inbox(*(getattr(self, each.name) + getattr(later, each.name) for each in fields(self)))

    def is_plain(self) -> bool:
        """Results only, as nearly always: one verb and one statement, which locks what it needs in order."""
        if self.signs or self.releases or self.capacities or self.drains:
            return False
        return len({report.task_id for report in self.reports if report.done}) == len(self.reports)

    def is_of_results_alone(self) -> bool:
        """Nothing that must come before them or after them: two transactions may be made of it. What only says
        where to look is for that which assigns."""
        others = self.attachments or self.closings or self.announced or self.wanted or self.tick
        return bool(self.reports) and not others and self.is_plain()

    def spoken_of(self) -> set[tuple[UUID, UUID]]:
        """The sessions with the tasks of which they say that they are done with them."""
        return {(report.session_id, report.task_id) for report in self.reports} | set(self.releases)

    def moves_workers(self) -> bool:
        """Whether it changes who may be given tasks, or how many: not while somebody decides on that."""
        return bool(self.capacities or self.drains)

    def concerned(self) -> tuple[set[UUID], set[UUID]]:
        """The sessions that are changed, and the tasks that the items name, but for the ends of sessions."""
        named = {task_id for _, task_id in self.spoken_of()} | {sign.task_id for sign in self.signs}
        return {session_id for session_id, _ in self.capacities} | set(self.drains), named

    def singly(self) -> Iterator[Inbox]:
        """Each item in an inbox of its own, to find the one that cannot be dealt with. What only says where to
        look is left out."""
        for each in fields(self):
            items = getattr(self, each.name)
            if isinstance(items, list) and each.name not in ("routes", "announced", "wanted"):
                for item in items:
                    single = Inbox()
                    setattr(single, each.name, [item])
                    yield single
