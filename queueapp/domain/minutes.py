"""How many there were lately, of what is counted in the minute of the last of them and in the one before."""

from __future__ import annotations

from datetime import datetime


def minute_of(time: datetime) -> int:
    """Which minute it is, since 1970."""
    return int(time.timestamp()) // 60


def of_last_minute(counted_minute: int, in_minute: int, in_previous: int, now: datetime) -> int:
    """In the last minute that is over."""
    return {0: in_previous, 1: in_minute}.get(minute_of(now) - counted_minute, 0)
