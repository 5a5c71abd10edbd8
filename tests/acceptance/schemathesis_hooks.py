"""What JSON Schema has no word for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import schemathesis
from hypothesis import strategies as st

YEARS = timedelta(days=9 * 365)
"""A task's times are refused that are more than ten years away."""

now = datetime.now(UTC).replace(tzinfo=None)
schemathesis.openapi.format(
    "date-time",
    st.datetimes(now - YEARS, now + YEARS).map(lambda time: time.isoformat(timespec="microseconds") + "Z"),
)

# Of a callback: its host must be of the public internet. This one is reserved, so that nothing is ever sent.
schemathesis.openapi.format("uri", st.integers(0).map(lambda number: f"https://callbacks.invalid/{number}"))
