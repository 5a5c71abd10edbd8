"""The server process on Daphne, with what that does not do itself.

Its close frames carry no reason and only codes that applications may use, it drains nothing on SIGTERM, and
its defaults find a dead peer after 51 seconds and cut every WebSocket after a day.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from typing import Any

import daphne.server  # noqa: F401 - installs the asyncio reactor, before anything imports another
from daphne.endpoints import build_endpoint_description_strings
from daphne.server import Server
from daphne.ws_protocol import WebSocketFactory, WebSocketProtocol
from twisted.internet import defer, reactor

from queueapp import courier, hub
from queueapp.conf import config
from queueapp.server.ending import end_at_once, end_in_order

logger = logging.getLogger(__name__)

FLUSH_SECONDS = 0.1
"""For what was written last to leave before the sockets are dropped."""


class WorkerProtocol(WebSocketProtocol):
    """Sends the application's close code and reason as they are, and a close frame where Autobahn would just
    drop the connection, so that a worker learns that its frame was too large (1009)."""

    def onConnect(self, request: Any) -> Any:
        self.failByDrop = False
        return super().onConnect(request)

    def handle_reply(self, message: dict[str, Any]) -> None:
        if message["type"] == "websocket.close" and self.state == self.STATE_OPEN:
            reason = message.get("reason", "").encode()
            self.sendCloseFrame(code=message.get("code", 1000), reasonUtf8=reason, isReply=False)
        else:
            super().handle_reply(message)


class QueueServer(Server):
    """Daphne with a hub inside and an orderly end."""

    def __init__(self, application: Any, host: str, port: int) -> None:
        WebSocketFactory.protocol = WorkerProtocol
        self.failed = False
        self._ports: list[Any] = []
        self._stopping = False
        super().__init__(
            application=application,
            endpoints=build_endpoint_description_strings(host=host, port=port),
            signal_handlers=False,
            ping_interval=config().ping_interval_seconds,
            ping_timeout=config().ping_timeout_seconds,
            websocket_timeout=-1,
            websocket_max_message_size=config().frame_limit_bytes,
            websocket_max_frame_size=config().frame_limit_bytes,
            application_close_timeout=config().drain_grace_seconds,
            ready_callable=lambda: reactor.callWhenRunning(self._started),
            server_name="workqueue",
        )

    def listen_success(self, port: Any) -> None:
        """Says so on standard error: with port 0 that is how one learns the port."""
        super().listen_success(port)
        self._ports.append(port)
        address = port.getHost()
        host = f"[{address.host}]" if ":" in address.host else address.host
        print(f"Listening on http://{host}:{address.port}", file=sys.stderr, flush=True)

    def listen_error(self, failure: Any) -> None:
        self.failed = True
        super().listen_error(failure)

    def kill_all_applications(self) -> Any:
        """As Daphne's, which stumbles over connections whose application has ended."""
        running = [
            details["application_instance"]
            for details in self.connections.values()
            if "application_instance" in details and not details["application_instance"].done()
        ]
        for application in running:
            application.cancel()
        waiting = defer.Deferred.fromFuture(asyncio.gather(*running, return_exceptions=True))
        waiting.addErrback(lambda _: None)
        return waiting

    def _started(self) -> None:
        loop = asyncio.get_event_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._asked_to_stop)
        # Before the first worker comes: what a process that died has left is waiting.
        loop.call_soon(hub.current_hub)
        loop.call_soon(courier.start)

    def _asked_to_stop(self) -> None:
        if self._stopping:
            end_at_once()
        self._stopping = True
        self._ending = asyncio.get_event_loop().create_task(self._end())

    async def _end(self) -> None:
        """Nobody new comes in; workers finish what they can in the grace; requests under way are answered."""
        try:
            for port in self._ports:
                port.stopListening()
            await end_in_order()
            await self._requests_answered()
        except Exception:
            logger.exception("The server did not end in order.")
        finally:
            self.stop()

    async def _requests_answered(self) -> None:
        requests = [
            details["application_instance"]
            for protocol, details in self.connections.items()
            if not isinstance(protocol, WebSocketProtocol) and "application_instance" in details
        ]
        if requests:
            await asyncio.wait(requests, timeout=config().drain_grace_seconds)
        await asyncio.sleep(FLUSH_SECONDS)
