"""The operators' WebSocket, `/work/operators`: a snapshot a second for who may view, and an ear for nobody."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from time import monotonic
from typing import Any

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.contrib.auth import get_user_model

from queueapp import live
from queueapp.database import DATABASE_AWAY

logger = logging.getLogger(__name__)

PERMISSIONS = ("queueapp.view_task", "queueapp.view_queue", "queueapp.view_workersession")
ASKED_AGAIN_SECONDS = 30.0
"""After which a viewer whose permission or account was taken away sees no more."""

FORBIDDEN = 4403
AWAY_SECONDS = 2.0


def may_view(user: Any) -> bool:
    """Staff that may view tasks, queues and workers: the overview shows something of each."""
    return bool(user and user.is_active and user.is_staff and user.has_perms(PERMISSIONS))


class OperatorConsumer(AsyncWebsocketConsumer):
    """One viewer. What it sends is not read, so it can change nothing."""

    channel_layer_alias = ""

    def __init__(self) -> None:
        super().__init__()
        self._telling: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        if not await self._may_view():
            await self.close()  # the handshake is refused
            return
        await self.accept()
        self._telling = asyncio.get_running_loop().create_task(self._tell())

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        pass

    async def disconnect(self, code: int) -> None:
        if self._telling is not None:
            self._telling.cancel()

    async def _tell(self) -> None:
        feed = live.feed()
        asked_at = monotonic()
        with suppress(OSError):  # nobody can read any more
            while True:
                try:
                    if monotonic() >= asked_at + ASKED_AGAIN_SECONDS:
                        asked_at = monotonic()
                        if not await self._may_view():
                            await self.close(FORBIDDEN)
                            return
                    text = await feed.next()
                except DATABASE_AWAY as error:
                    logger.warning("No snapshot for operators: %s", error)
                    await asyncio.sleep(AWAY_SECONDS)
                else:
                    await self.send(text)

    async def _may_view(self) -> bool:
        ask: Any = database_sync_to_async(_may_view_now, thread_sensitive=False)
        return await ask(self.scope["user"].pk)


def _may_view_now(user_id: Any) -> bool:
    """Asked of the rows: a user keeps in mind what permissions it had."""
    return may_view(get_user_model().objects.filter(pk=user_id).first())
