"""A worker's socket as the hub knows it: who it is, and what may be said to it."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from uuid import UUID

import msgspec

from queueapp.dispatch import Assignment
from queueapp.domain.ids import id_text
from queueapp.domain.times import as_rfc3339, in_json
from queueapp.protocol import ServerMessage, TaskFrame, Welcome, serialise, serialise_many

logger = logging.getLogger(__name__)

Send = Callable[[str], Awaitable[None]]
Close = Callable[[int, str], Awaitable[None]]

UNSENT_BYTES = 4 * 1024 * 1024
"""What is kept for a worker that does not take it. Tasks beyond that stay in the database until it does; once
answers take as much again, nothing more is read of what it asks."""

LARGE_BYTES = 1024 * 1024
"""What a task is thought to take whose data was left in the database because it is large."""

LAST_WORDS_SECONDS = 1.0
"""For a worker that reads to take what it was told before the connection is closed."""


@dataclass(slots=True)
class Link:
    """`v1`: the worker asked for the subprotocol, and knows all messages; others see nothing but tasks.
    `batch`: its frames may carry arrays. `held`: the tasks it was sent and has not ended, with the attempt.
    `drains`: it was told to finish and leave.

    What is said goes out in its order, in the background, the welcome before all else: a worker that does not
    read holds up nobody else, and is owed no more than `unsent_bytes`.
    """

    session_id: UUID
    v1: bool
    batch: bool
    max_outstanding: int
    send_text: Send
    close_socket: Close
    unsent_bytes: int = UNSENT_BYTES
    ask_again: Callable[[Iterable[UUID]], None] = lambda _: None
    """Called with tasks that were put off, when there is room for them; `answered` says that they have come."""
    send_at_once: Callable[[Sequence[str]], int] = lambda _: 0
    """How many of the texts it has sent; `send_text` must send the others."""
    held: dict[UUID, int] = field(default_factory=dict)
    drains: bool = False
    _outgoing: deque[str] = field(default_factory=deque)
    _outgoing_bytes: int = 0
    _put_off: dict[UUID, int] = field(default_factory=dict)
    """Tasks that are held but were not sent, with the bytes that they take."""
    _asked: dict[UUID, None] = field(default_factory=dict)
    """Those that were put off and are on their way again: they come before the others."""
    _welcomed: bool = False
    _sending: asyncio.Task[None] | None = None

    def tell(self, messages: Sequence[ServerMessage]) -> None:
        """Send what this worker understands of the messages."""
        understood = messages if self.v1 else [message for message in messages if isinstance(message, TaskFrame)]
        texts = serialise_many(understood, self.batch)
        waits = bool(self._outgoing) or self._sending is not None or not self._may_send
        sent = 0 if waits else self.send_at_once(texts)
        for text in texts[sent:]:
            self._outgoing.append(text)
            self._outgoing_bytes += sys.getsizeof(text)
        self._send_in_the_background()

    def hand_over(self, assignments: Sequence[Assignment], acks: Sequence[ServerMessage] = ()) -> None:
        """Send the acknowledgements, and then the tasks that it has not been sent; a hand-over may be noticed
        twice."""
        new: list[TaskFrame] = []
        room = self.unsent_bytes - self._outgoing_bytes
        for assignment in assignments:
            task = assignment.task
            if self.held.get(task.task_id) != task.attempt:
                self.held[task.task_id] = task.attempt
                size = LARGE_BYTES if task.data is None else sys.getsizeof(task.data)
                if task.data is None or room <= 0 or (self._put_off and task.task_id not in self._asked):
                    self._put_off[task.task_id] = size
                else:
                    new.append(task_frame(assignment, task.data))
                    room -= size
        self.tell([*acks, *new])
        self._ask_for_what_was_put_off()

    def let_go(self, task_id: UUID, attempt: int | None) -> None:
        """The attempt has ended, or it was not this worker's any more."""
        if attempt in (None, self.held.get(task_id)):
            self.held.pop(task_id, None)
            self._put_off.pop(task_id, None)

    def was_sent(self, task_id: UUID) -> bool:
        """Whether the worker has heard, or is about to hear, of the task that it holds."""
        return task_id in self.held and task_id not in self._put_off

    def welcome(self, heartbeat_seconds: float, server: str) -> None:
        """What it was told before, in answer to what it said early, comes after this."""
        self._welcomed = True
        if self.v1:
            welcome = Welcome(str(self.session_id), self.max_outstanding, in_json(heartbeat_seconds), server)
            self._outgoing.appendleft(serialise(welcome))
            self._outgoing_bytes += sys.getsizeof(self._outgoing[0])
        self._send_in_the_background()

    @property
    def is_behind(self) -> bool:
        """What it was told and has not taken has become too much."""
        return self._outgoing_bytes > 2 * self.unsent_bytes and self._sending is not None

    async def caught_up(self) -> None:
        """At once, unless it is behind: then when it has taken all."""
        if self._sending is not None and self.is_behind:
            await asyncio.wait([self._sending])

    async def close(self, code: int, reason: str) -> None:
        """After what was said before, if the worker takes it."""
        if self._sending is not None:
            await asyncio.wait([self._sending], timeout=LAST_WORDS_SECONDS)
        await self.close_socket(code, reason)

    @property
    def _may_send(self) -> bool:
        return self._welcomed or not self.v1

    def _send_in_the_background(self) -> None:
        if self._outgoing and self._sending is None and self._may_send:
            self._sending = asyncio.create_task(self._send_all(), name=f"link {self.session_id}")

    async def _send_all(self) -> None:
        try:
            while self._outgoing:
                text = self._outgoing.popleft()
                await self.send_text(text)
                self._outgoing_bytes -= sys.getsizeof(text)
                self._ask_for_what_was_put_off()
        except (
            Exception
        ) as error:  # a socket that breaks while it is written to reports that by its own disconnect
            logger.debug("A socket could not be written to: %s", error)
            self._outgoing.clear()
            self._outgoing_bytes = 0
        finally:
            self._sending = None

    def answered(self) -> None:
        """What was asked for has come, but for what has ended meanwhile."""
        self._asked.clear()
        self._ask_for_what_was_put_off()

    def _ask_for_what_was_put_off(self) -> None:
        """As many as there is room for. Until they come they are not held: the slow poll finds them too."""
        if self._asked or self._outgoing_bytes > self.unsent_bytes // 2:
            return
        room = self.unsent_bytes - self._outgoing_bytes
        while self._put_off and room > 0:
            task_id = next(iter(self._put_off))
            room -= self._put_off.pop(task_id)
            del self.held[task_id]
            self._asked[task_id] = None
        if self._asked:
            self.ask_again(tuple(self._asked))


def task_frame(assignment: Assignment, data: str) -> TaskFrame:
    task = assignment.task
    return TaskFrame(
        task_id=id_text(task.task_id),
        task_name=task.name,
        attrs=msgspec.Raw(assignment.attrs.encode()),
        data=msgspec.Raw(data.encode()),
        attempt=task.attempt,
        timeout=in_json(task.timeout_seconds),
        deadline=_rfc3339(task.deadline),
        priority=task.priority,
        traceparent=task.traceparent or msgspec.UNSET,
    )


@lru_cache(maxsize=64)
def _rfc3339(time: datetime) -> str:
    """Kept, for the tasks of a pass have a deadline for each timeout, and not for each task."""
    return as_rfc3339(time)
