"""How a handler says what its failure means, and how a worker says that the server will not have it."""

from __future__ import annotations

from typing import Any

from queueapp.domain.errors import WorkQueueError
from queueapp.protocol import MAX_RETRY_AFTER_SECONDS


class HandlerVerdict(WorkQueueError):
    """A failure whose handler knows whether another attempt can help. `details` is any JSON."""

    retry: bool
    after: float | None = None

    def __init__(self, message: str, details: Any = None) -> None:
        super().__init__(message)
        self.details = details


class Retry(HandlerVerdict):
    """Another attempt may succeed: it is made after the task's backoff, or `after` so many seconds, within its
    `max_attempts`."""

    retry = True

    def __init__(self, message: str, details: Any = None, *, after: float | None = None) -> None:
        super().__init__(message, details)
        if after is not None and not 0 <= after <= MAX_RETRY_AFTER_SECONDS:
            raise ValueError(f"Retry after {after}: seconds, up to {MAX_RETRY_AFTER_SECONDS:.0f}.")
        self.after = after


class Reject(HandlerVerdict):
    """No attempt can succeed: the task fails now, whatever its `retry_on` says."""

    retry = False


class Cancelled(WorkQueueError):
    """The result of the task is no longer wanted: its handler is to end, and to change nothing more."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The task is not this worker's any more ({reason}).")
        self.reason = reason


class HandlersHang(WorkQueueError):
    """So many handlers hang that the worker has left: nothing ends a thread but the end of its process, and each
    keeps what it has. `count`: how many."""

    def __init__(self, count: int) -> None:
        super().__init__(f"Handlers hang ({count}), and only the end of this process can end them: start it anew.")
        self.count = count


class Refused(WorkQueueError):
    """The server will not have this worker, now or later. `code`: the close code or HTTP status."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"The server refused this worker ({code}): {reason or 'it gave no reason'}")
        self.code = code
        self.reason = reason
