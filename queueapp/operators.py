"""The operators' WebSocket, `/work/operators`: what a page watches, for who may see it, and an ear for nobody."""

from __future__ import annotations

import asyncio
import logging
from importlib import import_module
from time import monotonic
from typing import Any

from channels.auth import get_user
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings

from queueapp import live, subjects
from queueapp.database import DATABASE_AWAY
from queueapp.subjects import Subject

logger = logging.getLogger(__name__)

ASKED_AGAIN_SECONDS = 30.0
"""After which a viewer whose permission, account or login is there no more sees no more."""

SIGN_SECONDS = 10.0
"""After which an empty frame says that there is nothing new: a page cannot see that its connection is dead."""

FORBIDDEN = 4403
BROKEN = 1011
AWAY_SECONDS = 2.0
AWAY_TIMES = 3
"""In a row: then the page has to know that it hears nothing."""


class OperatorConsumer(AsyncWebsocketConsumer):
    """One viewer. What it watches is in the address; what it sends is not read, so it can change nothing."""

    channel_layer_alias = ""

    def __init__(self) -> None:
        super().__init__()
        self._telling: asyncio.Task[None] | None = None

    async def connect(self) -> None:
        try:
            self._subject = subjects.read(self.scope["query_string"].decode("latin-1"))
        except subjects.UnknownSubject:
            await self.close()  # the handshake is refused
            return
        if not await self._may_watch():
            await self.close()
            return
        await self.accept()
        self._telling = asyncio.get_running_loop().create_task(self._tell())

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        pass

    async def disconnect(self, code: int) -> None:
        if self._telling is not None:
            self._telling.cancel()

    async def _tell(self) -> None:
        try:
            await self._tell_what_is_new()
        except OSError:
            pass  # nobody can read any more
        except Exception:  # whatever it is: a page that hears nothing would believe that nothing changes
            logger.exception("No snapshot of %s for operators", self._subject.kind)
            await self.close(BROKEN)

    async def _tell_what_is_new(self) -> None:
        told, away = None, 0
        asked_at = told_at = monotonic()
        with live.feed(self._subject) as feed:
            while True:
                try:
                    if monotonic() >= asked_at + ASKED_AGAIN_SECONDS:
                        if not await self._may_watch():
                            await self.close(FORBIDDEN)
                            return
                        asked_at = monotonic()
                    text = await feed.next()
                except DATABASE_AWAY as error:
                    logger.warning("No snapshot for operators: %s", error)
                    away += 1
                    if away == AWAY_TIMES:
                        await self.close(BROKEN)
                        return
                    await asyncio.sleep(AWAY_SECONDS)
                    continue
                away = 0
                if text != told:
                    told, told_at = text, monotonic()
                    await self.send(text)
                elif monotonic() >= told_at + SIGN_SECONDS:
                    told_at = monotonic()
                    await self.send("")

    async def _may_watch(self) -> bool:
        ask: Any = database_sync_to_async(_may_watch_now, thread_sensitive=False)
        return await ask(self.scope["session"].session_key, self._subject)


def _may_watch_now(session_key: str | None, subject: Subject) -> bool:
    """Asked of the rows: a session keeps in mind what was in it, and a user what permissions it had."""
    session = import_module(settings.SESSION_ENGINE).SessionStore(session_key)
    return subjects.may_watch(get_user.func({"session": session}), subject)
