"""One attempt of a task at this worker, from its arrival to its end."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Protocol

from queueapp.sdk.handlers import Handler
from queueapp.sdk.messages import ResultMessage
from queueapp.sdk.pulse import Pulse
from queueapp.sdk.task import Task

Key = tuple[str, int]
"""A task's id and the attempt: after a reconnect one process may see two attempts of one task."""


class Holder(Protocol):
    """Who was given the task, and answers for it to the server."""

    def concluded(self, key: Key, message: ResultMessage | None) -> None:
        """The handler has ended, or its place was taken from it. Without a message nobody wants to hear of it."""

    def waited_too_long(self, key: Key) -> None:
        """No place has become free for it here."""


@dataclass(slots=True, eq=False)
class Attempt:
    task: Task
    handler: Handler
    pulse: Pulse
    holder: Holder
    run: asyncio.Task[ResultMessage] | None = None
    timer: asyncio.TimerHandle | None = field(default=None, repr=False)
    """For what comes next if nothing happens: given back while it waits, timed out while it runs."""

    @property
    def key(self) -> Key:
        return (self.task.id, self.task.attempt)

    def stop_timer(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
