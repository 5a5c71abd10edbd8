"""What several requests ask for at the same time, done in one go (group commit, where it writes).

Who comes alone is served at once. Who comes while others are served is gathered, and served with all the rest that
has come until then: for a hundred, the statements, the commit and the changes of thread are little more than for
one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from queueapp.api.base import off_loop

Asked = TypeVar("Asked")
Answer = TypeVar("Answer")

AT_ONCE = 100
"""So that none waits for long because others are many."""

OVERTAKEN_AFTER_SECONDS = 0.05
MOST_GOES = 4
"""At the same time. One that waits for somebody's lock, or takes long for another reason, holds up nobody else."""


class Gathering(Generic[Asked, Answer]):
    """Of one event loop at a time."""

    def __init__(self, serve: Callable[[Sequence[Asked]], Sequence[Answer]]) -> None:
        """`serve`: the answers, in the order of what is asked. It runs on a thread with a connection; what is
        raised there is raised to all whom it was to serve."""
        self._serve = serve
        self._loop: asyncio.AbstractEventLoop | None = None
        self._waiting: list[tuple[Asked, asyncio.Future[Answer]]] = []
        self._goes: set[asyncio.Task[None]] = set()
        self._serving: asyncio.Task[None] | None = None

    async def ask(self, asked: Asked) -> Answer:
        loop = asyncio.get_running_loop()
        if loop is not self._loop:  # that of a server before, or of another test: nobody waits there any more
            self._loop, self._waiting, self._goes, self._serving = loop, [], set(), None
        answer: asyncio.Future[Answer] = loop.create_future()
        self._waiting.append((asked, answer))
        if self._serving is None:
            self._serving = loop.create_task(self._serve_all())
        return await answer

    async def _serve_all(self) -> None:
        while self._waiting:
            together, self._waiting = self._waiting[:AT_ONCE], self._waiting[AT_ONCE:]
            go = asyncio.create_task(self._serve_some(together))
            self._goes.add(go)
            go.add_done_callback(self._goes.discard)
            await asyncio.wait({go}, timeout=OVERTAKEN_AFTER_SECONDS)
            if len(self._goes) >= MOST_GOES:
                await asyncio.wait(self._goes, return_when=asyncio.FIRST_COMPLETED)
        self._serving = None

    async def _serve_some(self, together: Sequence[tuple[Asked, asyncio.Future[Answer]]]) -> None:
        try:
            answers = await off_loop(lambda: self._serve([asked for asked, _ in together]))
        except Exception as error:
            for _, waiting in together:
                if not waiting.done():  # one that has left is not waited for
                    waiting.set_exception(error)
        else:
            for (_, waiting), answer in zip(together, answers, strict=True):
                if not waiting.done():
                    waiting.set_result(answer)
