"""Doorbells between processes, over the channel layer: one subscription a process.

At most once, and it may be away altogether: who depends on a ring has a slow poll behind it. The in-memory
layer reaches no other process, so nothing is sent over it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from uuid import UUID, uuid4

from channels.layers import InMemoryChannelLayer, get_channel_layer

from queueapp import doorbell
from queueapp.doorbell import Revoked, Ring

logger = logging.getLogger(__name__)

GROUP = "workqueue"
IDS_A_MESSAGE = 1000
RETRY_SECONDS = 1.0
BACKLOG = 1000
"""Rings that wait to be sent while the layer is away; beyond that they are dropped, as a bell may be."""


class Relay:
    """Sends this process's rings to the others, and delivers theirs here. Used on one event loop."""

    def __init__(self) -> None:
        self._layer = get_channel_layer()
        self._origin = uuid4().hex
        self._loop = asyncio.get_running_loop()
        self._outgoing: asyncio.Queue[Ring] = asyncio.Queue(BACKLOG)
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        if self._layer is not None and not isinstance(self._layer, InMemoryChannelLayer):
            self._tasks = [
                self._loop.create_task(self._send_all(), name="relay-send"),
                self._loop.create_task(self._receive_all(), name="relay-receive"),
            ]

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def send(self, news: Ring) -> None:
        """On the event loop. What came from elsewhere is not sent on."""
        if self._tasks and not news.foreign:
            with suppress(asyncio.QueueFull):
                self._outgoing.put_nowait(news)

    async def _send_all(self) -> None:
        while True:
            news = await self._outgoing.get()
            for message in _messages(news):
                try:
                    await self._layer.group_send(GROUP, {"type": "ring", "origin": self._origin, **message})
                except Exception as error:  # whatever the driver raises: the layer is away
                    logger.warning("A doorbell could not be sent: %s", error or type(error).__name__)
                    await asyncio.sleep(RETRY_SECONDS)
                    break

    async def _receive_all(self) -> None:
        while True:
            try:
                channel = await self._layer.new_channel()
                await self._layer.group_add(GROUP, channel)
                while True:
                    message = await self._layer.receive(channel)
                    if message.get("origin") != self._origin:
                        doorbell.deliver(_ring(message))
            except Exception as error:
                logger.warning("Doorbells cannot be heard: %s", error or type(error).__name__)
                await asyncio.sleep(RETRY_SECONDS)


@contextmanager
def passing_on() -> Iterator[None]:
    """For a command, which runs no relay: what rings within is sent to all server processes at the end. Without
    it they find out by their polls, and so they do when the layer is away."""
    heard: list[Ring] = []
    unlisten = doorbell.listen(heard.append)
    try:
        yield
    finally:
        unlisten()
    layer = get_channel_layer()
    if layer is None or isinstance(layer, InMemoryChannelLayer):
        return

    async def send() -> None:
        for message in _messages(doorbell.merged(heard)):
            await layer.group_send(GROUP, {"type": "ring", **message})

    try:
        asyncio.run(send())
    except Exception as error:  # whatever the driver raises
        logger.warning("The servers were not told, and will find out: %s", error or type(error).__name__)


def _messages(news: Ring) -> Iterator[dict[str, Any]]:
    """The ring in messages of a bounded size. A process has nothing to do with `scheduled` of another, and
    callbacks are delivered where they came to be owed; others find by their poll those of a process that died."""
    for name in ("routes", "ended", "assigned"):
        ids = [each.hex for each in getattr(news, name)]
        for start in range(0, len(ids), IDS_A_MESSAGE):
            yield {name: ids[start : start + IDS_A_MESSAGE]}
    rest = {
        "roster": news.roster,
        "keys": news.keys,
        "revoked": [[r.session_id.hex, r.task_id.hex, r.attempt, r.reason] for r in news.revoked],
        "drained": [session_id.hex for session_id in news.drained],
        "closed": [[session_id.hex, code, reason] for session_id, code, reason in news.closed],
    }
    if any(rest.values()):
        yield rest


def _ring(message: dict[str, Any]) -> Ring:
    return Ring(
        routes=_ids(message.get("routes", ())),
        ended=_ids(message.get("ended", ())),
        assigned=_ids(message.get("assigned", ())),
        roster=message.get("roster", False),
        keys=message.get("keys", False),
        revoked=tuple(Revoked(UUID(s), UUID(t), n, why) for s, t, n, why in message.get("revoked", ())),
        drained=tuple(UUID(session_id) for session_id in message.get("drained", ())),
        closed=tuple((UUID(session_id), code, why) for session_id, code, why in message.get("closed", ())),
        foreign=True,
    )


def _ids(texts: Any) -> frozenset[UUID]:
    return frozenset(UUID(text) for text in texts)
