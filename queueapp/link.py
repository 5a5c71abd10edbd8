"""A worker's socket as the hub knows it: who it is, and what may be said to it."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from uuid import UUID

import msgspec

from queueapp.dispatch import Assignment
from queueapp.protocol import ServerMessage, TaskFrame, Welcome, serialise_many

logger = logging.getLogger(__name__)

Send = Callable[[str], Awaitable[None]]
Close = Callable[[int, str], Awaitable[None]]

LAST_WORDS_SECONDS = 1.0
"""For a worker that reads to take what it was told before the connection is closed."""


@dataclass(slots=True)
class Link:
    """`v1`: the worker asked for the subprotocol, and knows all messages; others see nothing but tasks.
    `batch`: its frames may carry arrays. `held`: the tasks it was sent and has not ended, with the attempt.
    `drains`: it was told to finish and leave.

    What is said goes out in its order, in the background: a worker that does not read holds up nobody else. What
    it can be owed is bounded by what it may hold.
    """

    session_id: UUID
    v1: bool
    batch: bool
    max_outstanding: int
    send_text: Send
    close_socket: Close
    held: dict[UUID, int] = field(default_factory=dict)
    drains: bool = False
    _outgoing: deque[str] = field(default_factory=deque)
    _sending: asyncio.Task[None] | None = None

    def tell(self, messages: Sequence[ServerMessage]) -> None:
        """Send what this worker understands of the messages."""
        understood = messages if self.v1 else [message for message in messages if isinstance(message, TaskFrame)]
        self._outgoing.extend(serialise_many(understood, self.batch))
        if self._outgoing and self._sending is None:
            self._sending = asyncio.create_task(self._send_all(), name=f"link {self.session_id}")

    def hand_over(self, assignments: Sequence[Assignment]) -> None:
        """Send the tasks that it has not been sent; a hand-over may be noticed twice."""
        new: list[TaskFrame] = []
        for assignment in assignments:
            task = assignment.task
            if self.held.get(task.task_id) != task.attempt:
                self.held[task.task_id] = task.attempt
                new.append(task_frame(assignment))
        self.tell(new)

    def let_go(self, task_id: UUID, attempt: int | None) -> None:
        """The attempt has ended, or it was not this worker's any more."""
        if attempt in (None, self.held.get(task_id)):
            self.held.pop(task_id, None)

    def welcome(self, heartbeat_seconds: float, server: str) -> None:
        self.tell([Welcome(str(self.session_id), self.max_outstanding, heartbeat_seconds, server)])

    async def close(self, code: int, reason: str) -> None:
        """After what was said before, if the worker takes it."""
        if self._sending is not None:
            await asyncio.wait([self._sending], timeout=LAST_WORDS_SECONDS)
        await self.close_socket(code, reason)

    async def _send_all(self) -> None:
        try:
            while self._outgoing:
                await self.send_text(self._outgoing.popleft())
        except (
            Exception
        ) as error:  # a socket that breaks while it is written to reports that by its own disconnect
            logger.debug("A socket could not be written to: %s", error)
            self._outgoing.clear()
        finally:
            self._sending = None


def task_frame(assignment: Assignment) -> TaskFrame:
    task = assignment.task
    return TaskFrame(
        task_id=str(task.task_id),
        task_name=task.name,
        attrs=msgspec.Raw(assignment.attrs.encode()),
        data=msgspec.Raw(task.data.encode()),
        attempt=task.attempt,
        timeout=task.timeout_seconds,
        deadline=_rfc3339(task.deadline),
        priority=task.priority,
        traceparent=task.traceparent or msgspec.UNSET,
    )


@lru_cache(maxsize=64)
def _rfc3339(time: datetime) -> str:
    """Kept, for the tasks of a pass have a deadline for each timeout, and not for each task."""
    return time.isoformat().replace("+00:00", "Z")
