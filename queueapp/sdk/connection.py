"""Keeps a worker connected: connects, backs off, connects again, and knows when to stop."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from urllib.parse import urlencode, urlsplit, urlunsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, InvalidStatus
from websockets.typing import Subprotocol

from queueapp.protocol import FATAL_CLOSE_CODES, SUBPROTOCOL, CloseCode
from queueapp.sdk.backoff import ReconnectBackoff
from queueapp.sdk.errors import Refused
from queueapp.sdk.framelimit import FrameLimit
from queueapp.sdk.handlers import Handlers
from queueapp.sdk.runner import Runner
from queueapp.sdk.session import STOPPED, Session
from queueapp.sdk.tally import Tally

log = logging.getLogger("queueapp.sdk")

WORKER_PATH = "/work/queue"
VERSION = "workqueue-sdk/0.1"
OPEN_TIMEOUT_SECONDS = 10.0
PING_SECONDS = 10.0
CLOSE_TIMEOUT_SECONDS = 5.0
HTTP_REFUSALS = frozenset({401, 403})


class Connection:
    """One session after another until the worker is drained, stopped or refused."""

    def __init__(
        self,
        endpoint: str,
        token: str,
        handlers: Handlers,
        runner: Runner,
        tally: Tally,
        *,
        backoff: ReconnectBackoff,
        resend_seconds: float,
        frame_limit: FrameLimit,
        drain_timeout: float | None,
        once: bool,
    ) -> None:
        self._endpoint = endpoint
        self._token = token
        self._runner = runner
        self._tally = tally
        self._backoff = backoff
        self._drain_timeout = drain_timeout
        self._begin = partial(
            Session,
            handlers=handlers,
            runner=runner,
            tally=tally,
            resend_seconds=resend_seconds,
            frame_limit=frame_limit,
            once=once,
        )
        self._leaving = asyncio.Event()
        self._stopping = asyncio.Event()
        self._session: Session | None = None

    async def serve(self) -> None:
        """Until drained. Raises Refused when the server will not have this worker."""
        failures = 0
        while not self._leaving.is_set():
            lasted_seconds = await self._one_session()
            if self._leaving.is_set():
                break
            failures = 0 if lasted_seconds >= self._backoff.stable_seconds else failures + 1
            delay_seconds = self._backoff.delay_seconds(max(0, failures - 1))
            log.info("Connecting again in %.1f s", delay_seconds)
            await self._pause(delay_seconds)
        # Handlers of a connection that was lost may still be at work: let them finish.
        ends = [asyncio.create_task(self._runner.wait_until_idle()), asyncio.create_task(self._stopping.wait())]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in ends:
                each.cancel()

    def drain(self) -> None:
        """Finish what runs, give back the rest, leave. Once is enough."""
        if self._leaving.is_set():
            return
        self._leaving.set()
        if self._drain_timeout is not None:
            asyncio.get_running_loop().call_later(self._drain_timeout, self._overdue)
        if self._session is not None:
            self._session.drain()

    def stop(self) -> None:
        """Give back what runs too, and leave."""
        self._leaving.set()
        self._stopping.set()
        if self._session is not None:
            self._session.stop()
        self._runner.cancel_running(STOPPED)

    def _overdue(self) -> None:
        if self._runner.running:
            log.warning("The drain took too long: giving back the %d tasks that run", self._runner.running)
            self._tally.unfinished = self._runner.running
            self.stop()

    async def _one_session(self) -> float:
        """Connect and stay until the connection ends; the seconds that it lasted."""
        loop = asyncio.get_running_loop()
        socket = await self._connect()
        if socket is None:
            return 0.0
        began = loop.time()
        try:
            self._session = self._begin(socket)
            if self._leaving.is_set():
                self._session.drain()
            await self._session.run()
            self._judge_end(socket, self._session)
        finally:
            self._session = None
            self._tally.is_attached = False
            # Nothing happens where the closing handshake was made; a worker that stops at once makes none.
            socket.transport.abort()
        return loop.time() - began

    async def _connect(self) -> ClientConnection | None:
        """The open socket, or None where trying again later makes sense."""
        try:
            socket = await connect(
                self._endpoint,
                additional_headers={"Authorization": f"Bearer {self._token}"},
                subprotocols=[Subprotocol(SUBPROTOCOL)],
                user_agent_header=VERSION,
                open_timeout=OPEN_TIMEOUT_SECONDS,
                ping_interval=PING_SECONDS,
                ping_timeout=PING_SECONDS,
                close_timeout=CLOSE_TIMEOUT_SECONDS,
                max_size=None,  # the server bounds what it sends; a limit here would only lose tasks
            )
        except InvalidStatus as problem:
            status = problem.response.status_code
            if status in HTTP_REFUSALS:
                raise Refused(status, "the credential is wrong or lacks the worker's role") from None
            log.warning("Could not connect: the server answered %d", status)
            return None
        except (OSError, InvalidHandshake, EOFError) as problem:
            log.warning("Could not connect: %s", problem or type(problem).__name__)
            return None
        if socket.subprotocol != SUBPROTOCOL:
            await socket.close()
            raise Refused(socket.close_code or 0, f"it does not speak {SUBPROTOCOL}")
        return socket

    def _judge_end(self, socket: ClientConnection, session: Session) -> None:
        code, reason = socket.close_code, socket.close_reason
        if code in FATAL_CLOSE_CODES:
            raise Refused(code, reason or "")
        if code == CloseCode.TOO_LARGE:
            if not session.is_welcome:
                raise Refused(code, "the registration, all names and filters of this worker, is too large for it")
            session.frame_was_too_large()
        if session.asked_to_leave:
            self._leaving.set()
        log.info("The connection ended (%s%s)", code, f": {reason}" if reason else "")

    async def _pause(self, delay_seconds: float) -> None:
        try:
            async with asyncio.timeout(delay_seconds):
                await self._leaving.wait()
        except TimeoutError:
            return


def endpoint(url: str, *, name: str, max_outstanding: int) -> str:
    """The worker route of a server: `http(s)` is read as `ws(s)`, and a bare host gets the contract's path.

    ValueError when the URL is not one of a server.
    """
    parts = urlsplit(url)
    scheme = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}.get(parts.scheme)
    if scheme is None or not parts.netloc:
        raise ValueError(f"{url!r} is no server: write it as ws://host:port or https://host.")
    options = {"_max_outstanding": str(max_outstanding), "_batch": "1", "_version": VERSION}
    if name:
        options["_name"] = name
    query = "&".join(part for part in (parts.query, urlencode(options)) if part)
    path = WORKER_PATH if parts.path in ("", "/") else parts.path
    return urlunsplit((scheme, parts.netloc, path, query, ""))
