"""What a story is, what becomes of one, and how they are played."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Generic, TypeVar

Stage = TypeVar("Stage")

AT_ONCE = 8
"""Stories that are played at the same time: most of them wait most of the time."""


class Level(StrEnum):
    MUST = "MUST"
    SHOULD = "SHOULD"


class Verdict(StrEnum):
    KEPT = "kept"
    BROKEN = "broken"
    SKIPPED = "skipped"


class Deviation(Exception):
    """The peer did something else. The text is what was seen."""


class NotApplicable(Exception):
    """The story has nothing to say of this peer, or cannot be played without what was not given."""


@dataclass(frozen=True, slots=True)
class Story(Generic[Stage]):
    """`rule` is what is expected, as one sentence; `play` raises Deviation or NotApplicable."""

    name: str
    level: Level
    rule: str
    play: Callable[[Stage], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Finding:
    story: str
    level: Level
    verdict: Verdict
    expected: str
    seen: str

    def line(self) -> str:
        mark = {Verdict.KEPT: "ok  ", Verdict.BROKEN: "FAIL", Verdict.SKIPPED: "skip"}[self.verdict]
        text = f"{mark} {self.level:6} {self.story}: {self.expected}"
        return text if self.verdict is Verdict.KEPT else f"{text}\n            seen: {self.seen}"

    def document(self) -> dict[str, Any]:
        return asdict(self)


class Stories(Generic[Stage]):
    """A collection to which stories are added as decorated functions; the docstring is the rule."""

    def __init__(self) -> None:
        self.all: list[Story[Stage]] = []

    def must(self, play: Callable[[Stage], Awaitable[None]]) -> Callable[[Stage], Awaitable[None]]:
        return self._add(Level.MUST, play)

    def should(self, play: Callable[[Stage], Awaitable[None]]) -> Callable[[Stage], Awaitable[None]]:
        return self._add(Level.SHOULD, play)

    def _add(self, level: Level, play: Callable[[Stage], Awaitable[None]]) -> Callable[[Stage], Awaitable[None]]:
        name: str = getattr(play, "__name__", "").replace("_", "-")
        rule = " ".join((play.__doc__ or "").split()).rstrip(".")
        self.all.append(Story(name, level, rule, play))
        return play


async def play_all(
    stories: Sequence[Story[Stage]],
    with_stage: Callable[[Story[Stage]], Awaitable[None]],
    report: Callable[[Finding], None],
) -> list[Finding]:
    """Each story on a stage of its own; `report` is called as each ends."""
    room = asyncio.Semaphore(AT_ONCE)

    async def play(story: Story[Stage]) -> Finding:
        async with room:
            finding = await found(story, with_stage)
            report(finding)
            return finding

    return list(await asyncio.gather(*map(play, stories)))


async def found(story: Story[Stage], with_stage: Callable[[Story[Stage]], Awaitable[None]]) -> Finding:
    """What becomes of the story, whatever the peer does."""
    verdict, seen = Verdict.KEPT, "as expected"
    try:
        await with_stage(story)
    except Deviation as deviation:
        verdict, seen = Verdict.BROKEN, str(deviation)
    except NotApplicable as reason:
        verdict, seen = Verdict.SKIPPED, str(reason)
    except Exception as error:
        # Whatever a peer does that no story foresees is its deviation, and must not end the run.
        verdict, seen = Verdict.BROKEN, f"{type(error).__name__}: {error}"
    return Finding(story.name, story.level, verdict, story.rule, seen)


def expect(condition: object, seen: object) -> None:
    """Deviation, with what was seen, unless the condition holds."""
    if not condition:
        raise Deviation(str(seen))
