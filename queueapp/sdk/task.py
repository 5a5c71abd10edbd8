"""A task as its handler sees it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime
from typing import Any

import msgspec

from queueapp.protocol import TaskFrame
from queueapp.sdk import messages

Say = Callable[[str, str], None]
"""Sends a message about the task: kind and JSON text. A later one of a kind replaces an unsent one."""


class Task:
    """One attempt of a task.

    `id`, `name`; `attrs`: string to string; `data`: any JSON; `attempt`: from 1; `timeout_seconds` without a
    sign of progress end the attempt, at `deadline` (UTC) as things stood when it was assigned; `priority`;
    `traceparent`: the producer's trace context or None.
    """

    def __init__(self, frame: TaskFrame, say: Say) -> None:
        self.id = frame.task_id
        self.name = frame.task_name
        self.attrs: dict[str, str] = msgspec.json.decode(frame.attrs, type=dict[str, str])
        self.data: Any = msgspec.json.decode(frame.data)
        self.attempt = frame.attempt
        self.timeout_seconds = frame.timeout
        self.deadline = datetime.fromisoformat(frame.deadline)
        self.priority = frame.priority
        self.traceparent = frame.traceparent or None
        self._say = say
        self._cancelled = threading.Event()

    @property
    def cancelled(self) -> bool:
        """Whether the result is no longer wanted (cancelled, timed out, taken away). A long sync handler
        looks now and then and returns early; an async one is cancelled by itself."""
        return self._cancelled.is_set()

    def cancel(self) -> None:
        self._cancelled.set()

    def progress(self, fraction: float, message: str = "") -> None:
        """Tell how far the work is, 0 to 1, and restart the timeout. From any thread; never waits."""
        self._say("progress", messages.progress(self.id, fraction, message))

    def extend(self, seconds: float) -> None:
        """Restart the timeout, for once with this length. From any thread; never waits."""
        self._say("extend", messages.extend(self.id, seconds))

    def __repr__(self) -> str:
        return f"<Task {self.id} {self.name} attempt {self.attempt}>"
