"""A task as its handler sees it."""

from __future__ import annotations

import logging
import threading
from datetime import datetime
from functools import cached_property
from typing import Any, Protocol

import msgspec

from queueapp.protocol import TaskFrame
from queueapp.sdk.errors import Cancelled
from queueapp.sdk.lease import Lease

LOST = "lost"


class Signs(Protocol):
    """Where a handler's signs of life go. From any thread; never waits."""

    def progress(self, fraction: float, message: str) -> None: ...

    def extend(self, seconds: float) -> None: ...


class Task:
    """One attempt of a task.

    `id`, `name`; `attrs`: string to string; `data`: any JSON, and `payload` its text; `attempt`: from 1;
    `timeout_seconds` without a sign of progress end the attempt, at `deadline` (UTC) as things stood when it was
    assigned; `priority`; `traceparent`: the producer's trace context or None; `logger`: names the task.
    """

    def __init__(self, frame: TaskFrame, signs: Signs, lease: Lease | None = None) -> None:
        self.id = frame.task_id
        self.name = frame.task_name
        self.attrs: dict[str, str] = msgspec.json.decode(frame.attrs, type=dict[str, str])
        self.payload = frame.data
        self.attempt = frame.attempt
        self.timeout_seconds = frame.timeout
        self.deadline = datetime.fromisoformat(frame.deadline)
        self.priority = frame.priority
        self.traceparent = frame.traceparent or None
        self._signs = signs
        self._lease = lease
        self._reason: str | None = None
        self._is_cancelled = threading.Event()

    @cached_property
    def data(self) -> Any:
        return msgspec.json.decode(self.payload)

    @cached_property
    def logger(self) -> logging.LoggerAdapter[logging.Logger]:
        """Its records say of which task they are, as `task_id`, `task_name` and `attempt`."""
        of_task = {"task_id": self.id, "task_name": self.name, "attempt": self.attempt}
        return logging.LoggerAdapter(logging.getLogger("queueapp.sdk.task"), of_task)

    @property
    def cancelled(self) -> bool:
        """Whether the result is no longer wanted: the task may be another worker's by now. A sync handler looks
        before whatever has effects outside, and returns early; an async one is cancelled by itself."""
        return self.reason is not None

    @property
    def reason(self) -> str | None:
        """Why it is cancelled: `cancelled`, `timeout`, `lost` (the connection is, or nothing was heard from the
        server for so long that it must be thought so) or `stopped` (the worker does not wait any longer)."""
        if self._reason is None and self._lease is not None and self._lease.is_over:
            return LOST
        return self._reason

    def check(self) -> None:
        """Raises Cancelled where the result is no longer wanted."""
        if self.reason is not None:
            raise Cancelled(self.reason)

    def wait_cancelled(self, seconds: float) -> bool:
        """Sleep in a sync handler, but no longer than the result is wanted. Whether it is no longer."""
        return self._is_cancelled.wait(seconds) or self.cancelled

    def cancel(self, reason: str) -> None:
        """The first reason stands."""
        self._reason = self._reason or reason
        self._is_cancelled.set()

    def progress(self, fraction: float, message: str = "") -> None:
        """Tell how far the work is, 0 to 1, and restart the timeout. From any thread, as often as one likes."""
        self._signs.progress(fraction, message)

    def extend(self, seconds: float) -> None:
        """Restart the timeout, for once with this length. From any thread."""
        self._signs.extend(seconds)

    def __repr__(self) -> str:
        return f"<Task {self.id} {self.name} attempt {self.attempt}>"
