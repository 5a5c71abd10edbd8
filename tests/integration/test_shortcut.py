"""The way past ASGI: what goes by it, what must not, and that nothing overtakes anything."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import websockets
from uvicorn.server import ServerState

from queueapp.consumers import TAKEN_IN_AT_ONCE_BYTES, WorkerConsumer
from queueapp.inbox import Inbox
from queueapp.link import Link
from queueapp.models import new_id
from queueapp.server.uvicorn import QueueServer, WorkerProtocol
from queueapp.shortcut import Shortcut, shortcut_of

PATIENCE_SECONDS = 60


class Application:
    """Accepts, and keeps what comes, by which way. `takes`: what of it goes by the short one."""

    def __init__(self, takes: Callable[[str], bool]) -> None:
        self._takes = takes
        self.came: list[tuple[str, str]] = []
        self.shortcut = Shortcut()
        self.reads = asyncio.Event()
        self.reads.set()
        self.accepted = asyncio.Event()
        self.ended = asyncio.Event()
        self._news = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.shortcut = shortcut_of(scope)
        self.shortcut.take = self._take
        assert (await receive())["type"] == "websocket.connect"
        await send({"type": "websocket.accept"})
        self.accepted.set()
        while True:
            await self.reads.wait()
            message = await receive()
            if message["type"] == "websocket.disconnect":
                self.ended.set()
                return
            self._note("usual", message.get("text") or message["bytes"].decode())

    def _take(self, text: str) -> bool:
        if self._takes(text):
            self._note("short", text)
        return self._takes(text)

    def _note(self, way: str, text: str) -> None:
        self.came.append((way, text))
        self._news.set()

    async def until(self, number: int) -> list[tuple[str, str]]:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(self.came) < number:
                self._news.clear()
                await self._news.wait()
        return self.came


@asynccontextmanager
async def connected(application: Application) -> AsyncIterator[Any]:
    loop = asyncio.get_running_loop()
    with socket.socket() as unused:
        settings = QueueServer(application, unused).config
    settings.load()
    settings.loaded_app = application
    server = await loop.create_server(lambda: WorkerProtocol(settings, ServerState(), {}, loop), "127.0.0.1", 0)
    try:
        async with websockets.connect(f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/") as client:
            await application.accepted.wait()
            yield client
    finally:
        server.close()


class TestTheServer:
    async def test_offers_text_frames_and_sends_the_others_on(self):
        application = Application(lambda text: text.startswith("a"))
        async with connected(application) as client:
            for frame in ("a1", "b1", b"a2", "a3"):
                await client.send(frame)
                await application.until(len(application.came) + 1)
        assert application.came == [("short", "a1"), ("usual", "b1"), ("usual", "a2"), ("short", "a3")]

    async def test_puts_a_text_in_fragments_together(self):
        application = Application(lambda text: True)
        async with connected(application) as client:
            await client.send(iter(["one ", "text"]))
            assert await application.until(1) == [("short", "one text")]

    async def test_has_nothing_overtake_what_was_not_taken(self):
        """Guard: the queue is empty."""
        application = Application(lambda text: text.startswith("a"))
        async with connected(application) as client:
            await client.send("b0")
            await application.until(1)
            application.reads.clear()
            for frame in ("b1", "b2", "a1"):
                await client.send(frame)
            await client.ping()
            application.reads.set()
            came = await application.until(4)
        assert [text for _, text in came] == ["b0", "b1", "b2", "a1"]

    async def test_sends_what_it_is_given_in_its_order(self):
        application = Application(lambda text: True)
        async with connected(application) as client:
            assert [application.shortcut.send(texts) for texts in (["1", "2"], ["3"])] == [2, 1]
            assert [await client.recv() for _ in range(3)] == ["1", "2", "3"]

    async def test_does_not_send_at_once_to_who_does_not_read(self):
        """Guard: `writable`. What is not taken would be kept without a bound."""
        application = Application(lambda text: True)
        async with connected(application) as client:
            client.transport.pause_reading()
            sent = 0
            while application.shortcut.send(["x" * 65536]):
                sent += 1
                assert sent < 1000
            client.transport.abort()  # a peer that reads nothing does not close in order either

    async def test_takes_no_more_than_the_peer_does_of_what_it_is_given_together(self):
        """Guard: that it looks again after some of it."""
        application = Application(lambda text: True)
        async with connected(application) as client:
            client.transport.pause_reading()
            assert 0 < application.shortcut.send(["x" * 65536] * 1000) < 1000
            client.transport.abort()

    @pytest.mark.parametrize("leave", ["close", "abort"])
    async def test_does_not_send_to_who_has_left(self, leave):
        application = Application(lambda text: True)
        async with connected(application) as client:
            if leave == "close":
                await client.close()
            else:
                client.transport.abort()
            await application.ended.wait()
            assert not application.shortcut.send(["x"])

    async def test_sends_text_that_is_no_utf8_to_the_usual_end(self):
        application = Application(lambda text: True)
        async with connected(application) as client:
            await client.send(b"\xff\xfe", text=True)
            with pytest.raises(websockets.ConnectionClosed):
                await client.recv()
        assert application.came == []


class TestTheConsumer:
    @pytest.fixture
    async def consumer(self) -> WorkerConsumer:
        async def send(message: Any) -> None:
            """Nobody listens."""

        consumer = WorkerConsumer()
        consumer.base_send = send
        consumer.hub = Unwoken()
        consumer.link = Link(new_id(), True, False, 10, consumer._send_text, consumer._close_by_hub)
        return consumer

    def result(self, **more: Any) -> str:
        return json.dumps({"task_id": str(new_id()), "result": "done", **more})

    async def test_takes_a_result(self, consumer):
        assert consumer._take_at_once(self.result())
        assert len(consumer.hub.inbox.reports) == 1

    async def test_does_not_take_what_it_must_answer(self, consumer):
        assert not consumer._take_at_once("nonsense")
        assert not consumer._take_at_once(f"[{self.result()}, 7]")
        assert not consumer.hub.inbox.reports

    async def test_keeps_the_connection_whatever_it_cannot_handle(self, consumer, monkeypatch, caplog):
        """Guard: the server closes the connection of a protocol that raises."""

        def fail(message: Any) -> bool:
            raise ValueError

        monkeypatch.setattr(consumer, "_take", fail)
        assert consumer._take_at_once(self.result())
        assert "could not be handled" in caplog.text

    async def test_takes_nothing_while_an_earlier_frame_waits(self, consumer):
        """Guard: `_is_busy`."""
        consumer._is_busy = True
        assert not consumer._take_at_once(self.result())

    async def test_takes_no_more_than_may_wait_for_a_pass(self, consumer):
        taken = 0
        frame = self.result(data="x" * 60_000)
        while consumer._take_at_once(frame):
            taken += len(frame)
        assert TAKEN_IN_AT_ONCE_BYTES - len(frame) <= taken <= TAKEN_IN_AT_ONCE_BYTES

    async def test_takes_nothing_from_who_does_not_read_the_answers(self, consumer):
        consumer.link.unsent_bytes = -1
        consumer.link._sending = asyncio.create_task(asyncio.sleep(0))
        assert not consumer._take_at_once(self.result())

    async def test_takes_nothing_when_it_has_ended(self, consumer):
        consumer.ended = True
        assert not consumer._take_at_once(self.result())


class Unwoken:
    """A hub's inbox without the hub."""

    def __init__(self) -> None:
        self.inbox = Inbox()

    def wake(self) -> None:
        """Nobody to wake."""
