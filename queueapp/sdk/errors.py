"""How a handler says what its failure means, and how a worker says that the server will not have it."""

from __future__ import annotations

from typing import Any

from queueapp.domain.errors import WorkQueueError


class HandlerVerdict(WorkQueueError):
    """A failure whose handler knows whether another attempt can help. `details` is any JSON."""

    retry: bool

    def __init__(self, message: str, details: Any = None) -> None:
        super().__init__(message)
        self.details = details


class Retry(HandlerVerdict):
    """Another attempt may succeed: it is made after the task's backoff, within its `max_attempts`."""

    retry = True


class Reject(HandlerVerdict):
    """No attempt can succeed: the task fails now, whatever its `retry_on` says."""

    retry = False


class Refused(WorkQueueError):
    """The server will not have this worker, now or later. `code`: the close code or HTTP status."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"The server refused this worker ({code}): {reason or 'it gave no reason'}")
        self.code = code
        self.reason = reason
