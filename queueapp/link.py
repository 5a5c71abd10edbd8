"""A worker's socket as the hub knows it: who it is, and what may be said to it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import msgspec

from queueapp.dispatch import Assignment
from queueapp.protocol import ServerMessage, TaskFrame, Welcome, serialise_many

Send = Callable[[str], Awaitable[None]]
Close = Callable[[int, str], Awaitable[None]]


@dataclass(slots=True)
class Link:
    """`v1`: the worker asked for the subprotocol, and knows all messages; others see nothing but tasks.
    `batch`: its frames may carry arrays. `held`: the tasks it was sent and has not ended, with the attempt.
    `drains`: it was told to finish and leave."""

    session_id: UUID
    v1: bool
    batch: bool
    max_outstanding: int
    send_text: Send
    close: Close
    held: dict[UUID, int] = field(default_factory=dict)
    drains: bool = False

    async def tell(self, messages: Sequence[ServerMessage]) -> None:
        """Send what this worker understands of the messages, in their order."""
        understood = [message for message in messages if self.v1 or isinstance(message, TaskFrame)]
        for text in serialise_many(understood, self.batch):
            await self.send_text(text)

    async def hand_over(self, assignments: Sequence[Assignment]) -> None:
        """Send the tasks that it has not been sent; a hand-over may be noticed twice."""
        new: list[TaskFrame] = []
        for assignment in assignments:
            task = assignment.task
            if self.held.get(task.task_id) != task.attempt:
                self.held[task.task_id] = task.attempt
                new.append(task_frame(assignment))
        await self.tell(new)

    def let_go(self, task_id: UUID, attempt: int | None) -> None:
        """The attempt has ended, or it was not this worker's any more."""
        if attempt in (None, self.held.get(task_id)):
            self.held.pop(task_id, None)

    async def welcome(self, heartbeat_seconds: float, server: str) -> None:
        await self.tell([Welcome(str(self.session_id), self.max_outstanding, heartbeat_seconds, server)])


def task_frame(assignment: Assignment) -> TaskFrame:
    task = assignment.task
    return TaskFrame(
        task_id=str(task.task_id),
        task_name=task.name,
        attrs=msgspec.Raw(assignment.attrs.encode()),
        data=msgspec.Raw(task.data.encode()),
        attempt=task.attempt,
        timeout=task.timeout_seconds,
        deadline=task.deadline.isoformat().replace("+00:00", "Z"),
        priority=task.priority,
        traceparent=task.traceparent or msgspec.UNSET,
    )
