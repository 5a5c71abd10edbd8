"""Watches a peer that breaks a rule until it is seen to."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from queueapp.conformance.stories import Finding, Verdict

LONGER_EACH_TIME = (1.0, 4.0, 12.0)


async def seen_in_time(watch: Callable[[float], Awaitable[Finding]]) -> Finding:
    """What is found by watching as short as will do, or longer: on a busy machine what is wrong with a peer comes
    late, and a peer that does nothing for a moment looks like one that keeps the rule."""
    for seconds in LONGER_EACH_TIME:
        finding = await watch(seconds)
        if finding.verdict is Verdict.BROKEN:
            break
    return finding
