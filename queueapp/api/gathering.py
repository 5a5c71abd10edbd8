"""What several requests ask for at the same time, done in one go (group commit, where it writes).

Who comes while few are served is served at once. Who comes while several goes are under way is gathered, and
served with all the rest that has come until one is done: then statements, commits and changes of thread are by go.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from queueapp.api.base import THREADS, off_loop
from queueapp.database import is_postgresql

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")

AT_ONCE = 100
"""So that none waits for long because others are many."""

GOES = 2
"""Under way at the same time, so that one waits for the disk while another is put together. SQLite has one writer,
for whom more would only wait."""

OVERTAKEN_AFTER_SECONDS = 0.05
"""A go that takes longer, as one that waits for somebody's lock, is no longer counted: others follow it, as long
as there is a thread."""


class Gathering(Generic[Asked, Answer]):
    """Of one event loop at a time."""

    def __init__(self, serve: Callable[[Sequence[Asked]], Sequence[Answer]]) -> None:
        """`serve`: the answers, in the order of what is asked. It runs on a thread with a connection; what is
        raised there is raised to all whom it was to serve."""
        self._serve = serve
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: list[tuple[Asked, asyncio.Future[Answer]]] = []
        self._goes: dict[asyncio.Task[None], asyncio.TimerHandle] = {}
        self._overtaken: set[asyncio.Task[None]] = set()

    async def ask(self, asked: Asked) -> Answer:
        loop = asyncio.get_running_loop()
        if loop is not self._loop:  # that of a server before, or of another test: nobody waits there any more
            self._loop, self._waiting, self._goes, self._overtaken = loop, [], {}, set()
        answer: asyncio.Future[Answer] = loop.create_future()
        self._waiting.append((asked, answer))
        self._begin_goes()
        return await answer

    def _begin_goes(self) -> None:
        most = GOES if is_postgresql() else 1
        while self._waiting and len(self._goes) < most and len(self._goes) + len(self._overtaken) < THREADS:
            together, self._waiting = self._waiting[:AT_ONCE], self._waiting[AT_ONCE:]
            # Who has left is told nothing, and sends again what was not begun.
            together = [(asked, answer) for asked, answer in together if not answer.done()]
            if together:
                loop = asyncio.get_running_loop()
                go = loop.create_task(self._serve_some(together))
                self._goes[go] = loop.call_later(OVERTAKEN_AFTER_SECONDS, self._overtake, go)
                go.add_done_callback(self._ended)

    def _overtake(self, go: asyncio.Task[None]) -> None:
        del self._goes[go]
        self._overtaken.add(go)
        self._begin_goes()

    def _ended(self, go: asyncio.Task[None]) -> None:
        if go in self._goes:
            self._goes.pop(go).cancel()
        self._overtaken.discard(go)
        self._begin_goes()

    async def _serve_some(self, together: Sequence[tuple[Asked, asyncio.Future[Answer]]]) -> None:
        try:
            answers = await off_loop(lambda: self._serve([asked for asked, _ in together]))
            served = list(zip((answer for _, answer in together), answers, strict=True))
        except BaseException as error:
            for _, waiting in together:
                if not waiting.done():
                    waiting.set_exception(error if isinstance(error, Exception) else RuntimeError("It was ended."))
            if not isinstance(error, Exception):
                raise
        else:
            for waiting, answer in served:
                if not waiting.done():
                    waiting.set_result(answer)
