"""One connection's dealings with the server: takes tasks, sends results until acknowledged, drains."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from functools import partial
from typing import assert_never

import msgspec
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from queueapp.protocol import (
    RESTART_REASON,
    Ack,
    Cancel,
    DrainNotice,
    ErrorNotice,
    ServerMessage,
    TaskFrame,
    Welcome,
)
from queueapp.sdk import heartbeat, messages
from queueapp.sdk.attempt import Attempt, Key
from queueapp.sdk.framelimit import FrameLimit
from queueapp.sdk.handlers import Handlers
from queueapp.sdk.lease import Lease
from queueapp.sdk.messages import ResultMessage
from queueapp.sdk.outbox import Outbox
from queueapp.sdk.pulse import Pulse
from queueapp.sdk.runner import Runner
from queueapp.sdk.tally import Tally
from queueapp.sdk.task import Task

log = logging.getLogger("queueapp.sdk")

DRAIN_NOTICE_SECONDS = 2.0
"""How long to wait for a server that may not confirm a worker's own drain."""

HEARTBEAT_SECONDS = 10.0
"""The server's, until it says otherwise."""

LAST_WORDS_SECONDS = 3.0
"""For what a worker that stops gives back to reach the server."""

STOPPED = "stopped"

_decode_message = msgspec.json.Decoder(ServerMessage).decode
_decode_array = msgspec.json.Decoder(list[msgspec.Raw]).decode


class Session:
    """What is held belongs to the connection: when it ends the server gives the tasks to others, so the local
    queue is wiped, and who still runs is told that it does so for nobody."""

    def __init__(
        self,
        socket: ClientConnection,
        handlers: Handlers,
        runner: Runner,
        tally: Tally,
        *,
        resend_seconds: float,
        frame_limit: FrameLimit,
        once: bool,
    ) -> None:
        self._socket = socket
        self._handlers = handlers
        self._runner = runner
        self._tally = tally
        self._resend_seconds = resend_seconds
        self._once = once
        self._loop = asyncio.get_running_loop()
        self._lease = Lease(self._loop.time, HEARTBEAT_SECONDS)
        self._outbox = Outbox(frame_limit)
        self._wake = asyncio.Event()
        self._open: set[Key] = set()
        self._unacknowledged: dict[Key, asyncio.TimerHandle] = {}
        self._draining = False
        self._drain_confirmed = False
        self._drain_timer: asyncio.TimerHandle | None = None
        self._ended = False
        self._last_words: asyncio.TimerHandle | None = None
        self.asked_to_leave = False
        """Whether the server wants the worker to end, rather than to come again after a restart."""
        self.is_welcome = False

    async def run(self) -> None:
        """Until the connection has ended, by whichever side."""
        background: list[asyncio.Task[None]] = []
        try:
            await self._socket.send(messages.registration(list(self._handlers)))
            background = [asyncio.create_task(self._send_all()), asyncio.create_task(self._keep_lease())]
            async for frame in self._socket:
                for message in _parse(frame):
                    self._receive(message)
        except ConnectionClosed:
            pass  # the socket knows its close code and reason
        finally:
            for each in background:
                each.cancel()
            self._end()

    def drain(self) -> None:
        """Take no more, give back what has not begun, and leave when the rest is done and acknowledged."""
        if self._draining:
            return
        self._draining = True
        self._say("drain", messages.DRAIN)
        for key in self._runner.take_back_waiting():
            self._release(key)

    def stop(self) -> None:
        """Give back what runs too, which costs it nothing, and leave."""
        self.drain()
        for key in list(self._open):
            self._runner.cancel(key, STOPPED)
            self._release(key)
        self._last_words = self._loop.call_later(LAST_WORDS_SECONDS, self._socket.transport.abort)

    def frame_was_too_large(self) -> None:
        """What the server closed for. Whoever comes again must not send it again."""
        self._outbox.was_too_large()

    def _end(self) -> None:
        self._ended = True
        self._lease.end()
        self._runner.lose()
        for timer in (self._last_words, self._drain_timer, *self._unacknowledged.values()):
            if timer is not None:
                timer.cancel()
        if lost := len(self._open) + len(self._unacknowledged):
            self._tally.lost += lost
            log.warning("The connection ended with %d tasks held: the server gives them to others", lost)

    async def _keep_lease(self) -> None:
        try:
            await heartbeat.keep(self._lease, self._socket, lambda: bool(self._open))
        except ConnectionClosed:
            return  # the reader meets the same end

    # ---- from the server

    def _receive(self, message: ServerMessage) -> None:
        match message:
            case TaskFrame():
                self._take(message)
            case Ack():
                self._acknowledged(message)
            case Cancel():
                key = (message.task_id, message.attempt)
                if key in self._open and not self._runner.cancel(key, message.reason):
                    self.concluded(key, None)
            case DrainNotice():
                self._confirm_drain()
                if not self._draining:
                    log.info("The server asks this worker to finish: %s", message.reason)
                    self.asked_to_leave = message.reason != RESTART_REASON
                    self.drain()
            case Welcome():
                self._lease.last(message.heartbeat)
                self.is_welcome = True
                self._tally.is_attached = True
                log.info("Attached to %s as %s", message.server, message.worker_id)
            case ErrorNotice():
                log.warning("The server could not use a frame: %s (%s)", message.message, message.code)
            case _:
                assert_never(message)

    def _take(self, frame: TaskFrame) -> None:
        key = (frame.task_id, frame.attempt)
        if key in self._open or key in self._unacknowledged:
            return
        self._open.add(key)
        if self._draining:
            self._release(key)
            return
        pulse = Pulse(frame.task_id, frame.timeout, partial(self._say_while_open, key))
        try:
            task = Task(frame, pulse, self._lease)
        except (msgspec.MsgspecError, ValueError) as problem:
            self.concluded(key, messages.error(*key, f"The worker cannot read the task: {problem}.", retry=False))
            return
        handler = self._handlers.find(task.name, task.attrs)
        if handler is None:
            text = f"The worker has no handler for {task.name} with these attributes."
            self.concluded(key, messages.error(*key, text, retry=True))
            return
        self._runner.accept(Attempt(task, handler, pulse, self))

    def _acknowledged(self, ack: Ack) -> None:
        if ack.status != "accepted":
            log.warning("The result of %s came too late: %s", ack.task_id, ack.status)
        for key in [key for key in self._keys_of(ack) if key in self._unacknowledged]:
            self._unacknowledged.pop(key).cancel()
            if self._once:
                self.asked_to_leave = True
                self.drain()
        self._wake.set()

    def _keys_of(self, ack: Ack) -> Iterable[Key]:
        if ack.attempt is not None:
            return [(ack.task_id, ack.attempt)]
        return [key for key in self._unacknowledged if key[0] == ack.task_id]

    # ---- to the server

    def concluded(self, key: Key, message: ResultMessage | None) -> None:
        if key in self._open and not self._ended and message is not None:
            self._tally.count(message.is_done)
            self._send_result(key, message.text)
        self._open.discard(key)
        self._wake.set()

    def waited_too_long(self, key: Key) -> None:
        log.info("No place became free here for %s: it is given back", key[0])
        self._release(key)

    def _send_result(self, key: Key, message: str) -> None:
        """Send, and again while there is no acknowledgement: only that says that the result is durable."""
        self._say(("result", key), message)
        self._unacknowledged[key] = self._loop.call_later(self._resend_seconds, self._send_result, key, message)

    def _release(self, key: Key) -> None:
        self._open.discard(key)
        self._tally.given_back += 1
        self._say(("release", key), messages.release(key[0]))

    def _say_while_open(self, key: Key, kind: str, message: str) -> None:
        if key in self._open and not self._ended:
            self._say((kind, key), message)

    def _say(self, key: object, message: str) -> None:
        self._outbox.put(key, message)
        self._wake.set()

    async def _send_all(self) -> None:
        try:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._outbox:
                    await self._socket.send(self._outbox.take_frame())
                if self._is_drained() and self._has_confirmation():
                    await self._socket.close()
                    return
        except ConnectionClosed:
            return  # the reader meets the same end

    def _has_confirmation(self) -> bool:
        """The server confirms a drain with its own notice. What it assigned before it knew has arrived by
        then and was given back; closing sooner would cost those tasks an attempt."""
        if not self._drain_confirmed and self._drain_timer is None:
            self._drain_timer = self._loop.call_later(DRAIN_NOTICE_SECONDS, self._confirm_drain)
        return self._drain_confirmed

    def _confirm_drain(self) -> None:
        self._drain_confirmed = True
        self._wake.set()

    def _is_drained(self) -> bool:
        return self._draining and not self._open and not self._unacknowledged


def _parse(frame: str | bytes) -> Iterable[ServerMessage]:
    """The messages of a frame. What a newer server says and this worker does not know is passed over."""
    try:
        elements = _decode_array(frame) if frame[:1] in ("[", b"[") else [frame]
    except msgspec.DecodeError as problem:
        log.warning("Passed over a frame: %s", problem)
        return
    for element in elements:
        try:
            yield _decode_message(element)
        except msgspec.DecodeError as problem:
            log.warning("Passed over a message: %s", problem)
