"""The server process on uvicorn, which reads no faster than frames are dealt with and notices who does not read.

Daphne does neither, and a frame costs it twice the time (docs/decisions/0004).
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import uvicorn
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.exceptions import InvalidState
from websockets.http11 import Request

from queueapp import courier, hub
from queueapp.conf import config
from queueapp.server.ending import end_at_once, end_in_order
from queueapp.shortcut import EXTENSION, Shortcut

logger = logging.getLogger(__name__)

BACKLOG = 2048
KEEP_ALIVE_SECONDS = 75
"""Longer than the 60 seconds after which proxies close an idle connection: who closes first may meet a request."""


SWITCHING_PROTOCOLS = 101

TOGETHER_BYTES = 64 * 1024
"""After so much one looks again whether the peer takes it: what the transport keeps has no other bound."""

PINGS_TOGETHER = 40
"""Into how many parts of the interval the pings of all connections are gathered."""


class WorkerProtocol(WebSocketsSansIOProtocol):
    """Lets go of a peer that does not read. A transport that is asked to close waits until all is written, for
    ever; uvicorn then never says that the connection is over, and its tasks would wait with it."""

    def handle_connect(self, event: Request) -> None:
        super().handle_connect(event)
        self.shortcut = Shortcut(self.send_at_once)
        if self.response.status_code == SWITCHING_PROTOCOLS:
            extensions: Any = self.scope["extensions"]
            extensions[EXTENSION] = self.shortcut

    def send_receive_event_to_app(self) -> None:
        """What came before has been taken, or it is waited for: nothing overtakes anything."""
        is_first = self.queue.empty() and not self.close_sent
        if is_first and self.curr_msg_data_type == "text" and self._takes(self.frames):
            self.frames = []
        else:
            super().send_receive_event_to_app()

    def _takes(self, frames: Sequence[bytes]) -> bool:
        try:
            text = frames[0].decode() if len(frames) == 1 else b"".join(frames).decode()
        except UnicodeDecodeError:
            return False
        return self.shortcut.take(text)

    def send_at_once(self, texts: Sequence[str]) -> int:
        """How many it has sent: not all where the peer does not take what was sent before, or has left. What goes
        together is one call of the kernel, which takes longer than all else about a frame."""
        sent = 0
        while sent < len(texts) and self.writable.is_set() and not self.disconnected:
            together = 0
            try:
                while sent < len(texts) and together < TOGETHER_BYTES:
                    payload = texts[sent].encode()
                    self.conn.send_text(payload)
                    together += len(payload)
                    sent += 1
            except InvalidState:
                break
            self.transport.write(b"".join(self.conn.data_to_send()))
        return sent

    def schedule_ping(self) -> None:
        """A little earlier than it is due, together with those of others: with a thousand connections the loop
        would wake up a hundred times a second, each time for one of them, and again for its answer."""
        assert self.ping_interval is not None
        due = self.loop.time() + max(0.0, self.ping_interval - self.last_ping_rtt)
        part = self.ping_interval / PINGS_TOGETHER
        self.ping_timer = self.loop.call_at(due // part * part, self.send_keepalive_ping)

    def keepalive_timeout(self) -> None:
        if self.read_paused and self.writable.is_set():
            # It says more than is dealt with, and waits until the database is back, say. Its pong waits too.
            self.pong_timer = self.loop.call_later(self.ping_timeout or 0.0, self.keepalive_timeout)
            return
        super().keepalive_timeout()
        self.transport.abort()

    async def send(self, message: Any) -> None:
        await super().send(message)
        if message["type"] == "websocket.http.response.body":
            self.handshake_complete = True  # uvicorn takes it for one that was never answered, and logs an error
        if message["type"] == "websocket.close" and self.close_timer is not None:
            self.close_timer.cancel()
            self.close_timer = self.loop.call_later(self.close_timeout, self.transport.abort)


class QueueServer(uvicorn.Server):
    """uvicorn with a hub inside and an orderly end."""

    def __init__(self, application: Any, listening: socket.socket) -> None:
        self._listening = listening
        super().__init__(
            uvicorn.Config(
                application,
                loop="uvloop",
                http="httptools",
                ws=WorkerProtocol,
                ws_max_size=config().frame_limit_bytes,
                ws_ping_interval=config().ping_interval_seconds,
                ws_ping_timeout=config().ping_timeout_seconds,
                # The windows take more memory than all the rest of a connection, and frames are small.
                ws_per_message_deflate=False,
                lifespan="off",
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_keep_alive=KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=max(1, round(config().drain_grace_seconds)),
            )
        )

    def serve_until_stopped(self) -> None:
        self.run(sockets=[self._listening])

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        # Before the first worker comes: what a process that died has left is waiting.
        hub.current_hub()
        courier.start()
        address = self._listening.getsockname()
        host = f"[{address[0]}]" if ":" in address[0] else address[0]
        # On standard error: with port 0 that is how one learns the port.
        print(f"Listening on http://{host}:{address[1]}", file=sys.stderr, flush=True)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Nobody new comes in; workers finish what they can in the grace; requests under way are answered."""
        for server in self.servers:
            server.close()
        await end_in_order()
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """uvicorn's own raises the signal again at the end: an orderly end would look like a violent one."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._asked_to_stop)
        yield

    def _asked_to_stop(self) -> None:
        if self.should_exit:
            end_at_once()
        self.should_exit = True


def listening_socket(host: str, port: int) -> socket.socket:
    """OSError when the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=BACKLOG)
