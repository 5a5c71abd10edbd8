"""The worker's WebSocket, `/work/queue`: who it is, what it offers, and each frame handed to the hub.

Nothing here touches tasks. A handler does O(1) work and no query, so that no worker waits for another; what
it cannot use it counts and answers, because an exception would cost the worker all of its tasks.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, assert_never
from uuid import UUID

from channels.exceptions import StopConsumer
from channels.generic.websocket import AsyncWebsocketConsumer
from django.db import connection

from queueapp import hub as hubs
from queueapp.auth import WorkerIdentity, authenticate_worker
from queueapp.conf import config
from queueapp.counters import sockets
from queueapp.database import DATABASE_AWAY
from queueapp.domain.errors import Forbidden, NotAuthenticated, RegistrationError
from queueapp.domain.ids import as_id
from queueapp.domain.states import Outcome
from queueapp.lifecycle import Report, SignOfLife
from queueapp.link import Link
from queueapp.models import new_id
from queueapp.protocol import (
    RESTART_REASON,
    SUBPROTOCOL,
    Ack,
    Capacity,
    CloseCode,
    Drain,
    ErrorNotice,
    Extend,
    Progress,
    Release,
    Result,
    ServerMessage,
    Unusable,
    WorkerMessage,
    close_reason,
)
from queueapp.registration import Offer, Query, parse_first_message, parse_query
from queueapp.sessions import Attachment
from queueapp.shortcut import Shortcut, shortcut_of
from queueapp.worker_frames import parse_auth, parse_frame

logger = logging.getLogger(__name__)

MINUTE_SECONDS = 60.0

TAKEN_IN_AT_ONCE_BYTES = 1024 * 1024
"""How much of one worker's frames may wait for a pass before the next frame is read."""

PEER_HAS_LEFT = OSError
"""What an ASGI server raises when something is to be sent that nobody can read any more."""


class WorkerConsumer(AsyncWebsocketConsumer):
    """One connection: first its credential, then its registration, then frames until it ends."""

    channel_layer_alias = ""  # no channel a worker: the hub has the one subscription of the process

    def __init__(self) -> None:
        super().__init__()
        self.session_id: UUID = new_id()
        self.query: Query | None = None
        self.identity: WorkerIdentity | None = None
        self.link: Link | None = None
        self.ended = False
        self._closed_with = int(CloseCode.GOING_AWAY)
        self._deadline: asyncio.TimerHandle | None = None
        self._frame_limit_bytes = config().frame_limit_bytes
        self._unusable_at: deque[float] = deque()
        self._taken_in_bytes = 0
        self._shortcut = Shortcut()
        self._is_busy = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Without Channels' loop, which listens to the channel layer as well and makes two asyncio tasks for each
        message to do so. Whatever way it ends, the tasks are given to others."""
        self.scope = scope
        self.base_send = send
        self.hub = hubs.current_hub()
        self._shortcut = shortcut_of(scope)
        sockets.opened += 1
        try:
            while True:
                message = await receive()
                self._is_busy = True
                await self.dispatch(message)
                self._is_busy = False
        except StopConsumer:
            pass
        finally:
            self._ended_by_the_peer()
            sockets.note_close(self._closed_with)

    async def dispatch(self, message: dict[str, Any]) -> None:
        """Without Channels' query for old connections before each message: nothing here uses one."""
        try:
            match message["type"]:
                case "websocket.receive":
                    await self.receive(message.get("text"))
                case "websocket.connect":
                    await self.connect()
                case _:
                    self._ended_by_the_peer(message.get("code") or CloseCode.GOING_AWAY)
                    raise StopConsumer
        except StopConsumer:
            raise
        except Exception:
            logger.exception("A worker's message could not be handled.")
            await self._refuse(Unusable("internal", "The frame could not be handled."))

    # ---- handshake

    async def connect(self) -> None:
        subprotocol = SUBPROTOCOL if SUBPROTOCOL in self.scope["subprotocols"] else None
        try:
            await self.accept(subprotocol)
        except PEER_HAS_LEFT:
            return  # That it has is the next message.
        if self.hub.leaving:
            await self._end(CloseCode.RESTART, RESTART_REASON)
            return
        if self.hub.connections >= config().max_connections:
            await self._end(CloseCode.TOO_MANY, "Too many connections: come again later.")
            return
        token = _bearer_token(self.scope["headers"])
        if token is not None and not await self._authenticate(token):
            return
        try:
            self.query = parse_query(self.scope["query_string"], config().max_outstanding)
        except RegistrationError as error:
            await self._end(CloseCode.BAD_REGISTRATION, error.reason)
        else:
            await self._proceed()

    async def _authenticate(self, token: str) -> bool:
        try:
            self.identity = await asyncio.to_thread(_identify, token)
        except NotAuthenticated as error:
            await self._end(CloseCode.NOT_AUTHENTICATED, str(error))
        except Forbidden as error:
            await self._end(CloseCode.FORBIDDEN, str(error))
        except DATABASE_AWAY as error:
            # Nobody can say now who it is. A 4401 would send it away for ever.
            logger.warning("A worker could not be authenticated, for the database is away: %s", error)
            await self._end(CloseCode.RESTART, "The database is away: come again.")
        return self.identity is not None and not self.ended

    async def _proceed(self) -> None:
        """Attach if all is known; else wait for the message that is missing."""
        assert self.query is not None
        if self.identity is None:
            reason = "Not authenticated: send an Authorization header or an auth message first."
            self._expect(config().authentication_timeout_seconds, CloseCode.NOT_AUTHENTICATED, reason)
        elif self.query.offers:
            await self._attach(self.query.offers)
        else:
            reason = "No registration came in time."
            self._expect(config().registration_timeout_seconds, CloseCode.REGISTRATION_TIMEOUT, reason)

    async def _introduce(self, text: str) -> None:
        """A frame before the worker is attached: its credential or its registration."""
        if self.identity is None:
            token = parse_auth(text)
            if token is None:
                await self._end(CloseCode.NOT_AUTHENTICATED, "The first message must be of kind auth.")
            elif await self._authenticate(token) and not self.ended:
                await self._proceed()
            return
        try:
            offers = parse_first_message(text)
        except RegistrationError as error:
            await self._end(CloseCode.BAD_REGISTRATION, error.reason)
        else:
            await self._attach(offers)

    async def _attach(self, offers: tuple[Offer, ...]) -> None:
        assert self.identity is not None
        assert self.query is not None
        reach = self.identity.reach
        for offer in offers:
            if excess := reach.excess(offer.subscription):
                await self._end(CloseCode.FORBIDDEN, excess)
                return
        self._expect_nothing()
        options = self.query.options
        v1 = SUBPROTOCOL in self.scope["subprotocols"]
        self.link = Link(
            self.session_id, v1, options.batch, options.max_outstanding, self._send_text, self._close_by_hub
        )
        self.link.send_at_once = self._send_at_once
        self._shortcut.take = self._take_at_once
        remote = ":".join(map(str, self.scope.get("client") or ()))
        self.hub.attach(self.link, Attachment(self.session_id, options, offers, self.identity.api_key, remote, v1))

    # ---- frames

    async def receive(self, text: str | None) -> None:
        sockets.frames_received += 1
        if self.ended:
            return
        if text is None:
            await self._refuse(Unusable("binary", "Frames are JSON text."))
        elif _is_larger(text, self._frame_limit_bytes):
            await self._end(CloseCode.TOO_LARGE, f"A frame has at most {self._frame_limit_bytes} bytes.")
        elif self.link is None:
            await self._introduce(text)
        else:
            refused = [message for message in parse_frame(text) if not self._take(message)]
            for message in refused[:1]:
                await self._refuse(message)
            await self._keep_pace(len(text))

    def _take_at_once(self, text: str) -> bool:
        """A frame on the short way. On the usual one goes what must be answered, what has somebody wait, and what
        comes while something before it is waited for."""
        if self._is_busy or self.ended or self.link is None or self.link.is_behind:
            return False
        if self._taken_in_bytes + len(text) > TAKEN_IN_AT_ONCE_BYTES or _is_larger(text, self._frame_limit_bytes):
            return False
        try:
            messages = parse_frame(text)
            if any(isinstance(message, Unusable) for message in messages):
                return False
            sockets.frames_received += 1
            self._taken_in_bytes += len(text)
            for message in messages:
                self._take(message)
        except Exception:  # raised to the server it would cost the worker its connection
            logger.exception("A worker's frame could not be handled.")
        return True

    async def _keep_pace(self, taken_bytes: int) -> None:
        """A worker that says more than can be dealt with is read no faster; nor is one that asks and asks, and
        does not read the answers. The server reads nothing of it until this returns."""
        assert self.link is not None
        self._taken_in_bytes += taken_bytes
        if self._taken_in_bytes > TAKEN_IN_AT_ONCE_BYTES:
            await self.hub.dealt_with()
            self._taken_in_bytes = 0
        await self.link.caught_up()

    def _take(self, message: WorkerMessage) -> bool:
        """Put the message into the hub's inbox. False: it is of no use."""
        inbox, session_id = self.hub.inbox, self.session_id
        match message:
            case Unusable():
                return False
            case Drain():
                inbox.drains.append(session_id)
            case Capacity():
                inbox.capacities.append((session_id, message.max_outstanding))
            case Result() | Progress() | Extend() | Release():
                task_id = as_id(message.task_id)
                if task_id is None:
                    self._tell(Ack(message.task_id, getattr(message, "attempt", None), "unknown"))
                    return True
                self._take_about(task_id, message)
            case _:
                assert_never(message)
        self.hub.wake()
        return True

    def _take_about(self, task_id: UUID, message: Result | Progress | Extend | Release) -> None:
        inbox, session_id = self.hub.inbox, self.session_id
        match message:
            case Result(_, done, payload, error, attempt, retry, after):
                inbox.reports.append(Report(session_id, task_id, done, payload, error, attempt, retry, after))
            case Progress(_, progress, text):
                inbox.signs.append(SignOfLife(session_id, task_id, progress=progress, message=text))
            case Extend(_, seconds):
                inbox.signs.append(SignOfLife(session_id, task_id, seconds=seconds))
            case Release():
                inbox.releases.append((session_id, task_id))
                if self.link is not None:
                    self.link.let_go(task_id, None)
            case _:
                assert_never(message)

    async def _refuse(self, unusable: WorkerMessage) -> None:
        """Answer an unusable frame; too many of them in a minute end the connection."""
        assert isinstance(unusable, Unusable)
        now = time.monotonic()
        self._unusable_at.append(now)
        while self._unusable_at[0] < now - MINUTE_SECONDS:
            self._unusable_at.popleft()
        if len(self._unusable_at) > config().unusable_frames_per_minute:
            await self._end(CloseCode.TOO_MANY, "Too many unusable frames.")
        else:
            self._tell(ErrorNotice(unusable.code, unusable.message))

    def _tell(self, message: ServerMessage) -> None:
        if self.link is not None and not self.ended:
            self.link.tell([message])

    async def _send_text(self, text: str) -> None:
        sockets.frames_sent += 1
        await self.base_send({"type": "websocket.send", "text": text})

    def _send_at_once(self, texts: Sequence[str]) -> int:
        sent = 0 if self.ended else self._shortcut.send(texts)
        sockets.frames_sent += sent
        return sent

    # ---- ends

    def _ended_by_the_peer(self, code: int = CloseCode.GOING_AWAY) -> None:
        if not self.ended:
            self._closed_with = code
        self.ended = True
        self._expect_nothing()
        self.hub.detach(self.session_id, Outcome.LOST, code, "The connection ended.")

    async def _end(self, code: CloseCode, reason: str) -> None:
        """Close from our side. The tasks are given to others now, not when the peer answers."""
        if not self.ended:
            self.ended, self._closed_with = True, int(code)
            self._expect_nothing()
            self.hub.detach(self.session_id, Outcome.LOST, code, reason)
            with suppress(PEER_HAS_LEFT):
                await self.close(int(code), close_reason(reason))

    async def _close_by_hub(self, code: int, reason: str) -> None:
        """The hub has already ended the session."""
        if not self.ended:
            self.ended, self._closed_with = True, int(code)
            await self.close(int(code), close_reason(reason))

    def _expect(self, seconds: float, code: CloseCode, reason: str) -> None:
        self._expect_nothing()
        loop = asyncio.get_running_loop()
        self._deadline = loop.call_later(seconds, lambda: loop.create_task(self._end(code, reason)))

    def _expect_nothing(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def _identify(token: str) -> WorkerIdentity:
    """On a thread of its own: deriving a key takes tens of milliseconds."""
    try:
        return authenticate_worker(token)
    finally:
        connection.close()


def _bearer_token(headers: list[tuple[bytes, bytes]]) -> str | None:
    for name, value in headers:
        if name == b"authorization":
            scheme, _, token = value.decode("latin1").partition(" ")
            return token.strip() if scheme.lower() == "bearer" else ""
    return None


def _is_larger(text: str, limit_bytes: int) -> bool:
    """Whether the text takes more bytes; it is encoded only where its length leaves that open."""
    return len(text) > limit_bytes or (len(text) * 4 > limit_bytes and len(text.encode()) > limit_bytes)
