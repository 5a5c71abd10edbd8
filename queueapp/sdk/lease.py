"""For how long a worker may take what it was given for its own."""

from __future__ import annotations

from collections.abc import Callable

SHARE_OF_HEARTBEAT = 0.9
RENEWALS = 3
"""So often in a lease a sign of life is asked for."""


class Lease:
    """Of one connection. A server that hears nothing for a heartbeat gives the tasks to others, and nobody can
    tell the worker: it must stop by its own clock, a little earlier. Time is looked at when somebody asks, not by
    a timer, so that a process that was frozen knows it with its first step. From any thread.

    Once somebody was told that it is over, it is: who has stopped for that is not to be told otherwise later, nor
    would the server hear of what was dropped.
    """

    def __init__(self, now: Callable[[], float], heartbeat_seconds: float) -> None:
        self._now = now
        self._renewed_at = now()
        self._has_ended = False
        self.last(heartbeat_seconds)

    @property
    def is_over(self) -> bool:
        if self.remaining_seconds <= 0:
            self._has_ended = True
        return self._has_ended

    @property
    def has_ended(self) -> bool:
        """With the connection, or because somebody was told so."""
        return self._has_ended

    @property
    def remaining_seconds(self) -> float:
        return self._renewed_at + self._seconds - self._now()

    @property
    def renewal_seconds(self) -> float:
        return self._seconds / RENEWALS

    def last(self, heartbeat_seconds: float) -> None:
        """As long as the server's heartbeat asks for."""
        self._seconds = heartbeat_seconds * SHARE_OF_HEARTBEAT

    def renew(self, at: float) -> None:
        """The server is known to have heard what was sent until then."""
        self._renewed_at = max(self._renewed_at, at)

    def end(self) -> None:
        """With the connection."""
        self._has_ended = True
