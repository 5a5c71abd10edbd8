"""Times as they come from outside and are said there: RFC 3339, and nothing else that Python would also read;
and durations, in seconds."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII | re.IGNORECASE)


def parse_rfc3339(text: str) -> datetime:
    """The time, in UTC. ValueError says what is wanted."""
    try:
        if _RFC3339.fullmatch(text) is None:
            raise ValueError
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError("must be an RFC 3339 time with a zone, such as 2030-01-31T12:00:00Z") from None


def in_json(seconds: float) -> float | int:
    """As a whole number where it is one: `300`, for some readers take `300.0` for no integer."""
    whole = int(seconds)
    return whole if whole == seconds else seconds


def as_rfc3339(time: datetime, timespec: str = "auto") -> str:
    """In UTC, as precise as Python's `isoformat` makes it with that `timespec`."""
    return time.astimezone(UTC).isoformat(timespec=timespec).replace("+00:00", "Z")
