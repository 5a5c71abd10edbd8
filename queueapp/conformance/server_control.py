"""Stories against a server: control messages, limits and ends."""

from __future__ import annotations

import asyncio
import base64
import os
from contextlib import suppress
from urllib.parse import urlsplit

from websockets.exceptions import ConnectionClosed, InvalidStatus

from queueapp.conformance.stories import Deviation, NotApplicable, Stories, expect
from queueapp.conformance.visitor import Visitor
from queueapp.protocol import SUBPROTOCOL

stories: Stories[Visitor] = Stories()

LARGE = "x" * 200_000
UNUSABLE_A_MINUTE = 100
BAD_FRAMES = ("", "hello", "null", "[[]]", "{", "{}", '{"kind": "news"}', '{"task_id": 1}', b"\x00", "[" * 5000)


@stories.must
async def release(visitor: Visitor) -> None:
    """A task that is given back is assigned again, and costs no attempt."""
    async with visitor.worker() as worker:
        (task_id,) = await visitor.submit(max_attempts=1)
        await worker.say({"kind": "release", "task_id": (await worker.hear("task"))["task_id"]})
        task = await worker.hear("task")
        expect((task["task_id"], task["attempt"]) == (task_id, 2), task)


@stories.must
async def progress(visitor: Visitor) -> None:
    """Progress is shown to producers and restarts the timeout."""
    async with visitor.worker() as worker:
        (task_id,) = await visitor.submit()
        task = await worker.hear("task")
        await worker.say({"kind": "progress", "task_id": task_id, "progress": 0.5, "message": "half"})
        shown = await visitor.until(task_id, lambda task: task["progress"] == 0.5)
        expect(shown["deadline"] > task["deadline"], f"the deadline stays {shown['deadline']}")


@stories.must
async def extend(visitor: Visitor) -> None:
    """Extend restarts the timeout, for once with its length."""
    async with visitor.worker() as worker:
        (task_id,) = await visitor.submit(timeout=60)
        task = await worker.hear("task")
        await worker.say({"kind": "extend", "task_id": task_id, "seconds": 7200})
        await visitor.until(task_id, lambda now: now["deadline"] > task["deadline"])


@stories.must
async def timeout(visitor: Visitor) -> None:
    """A task without result or sign of life is taken away after its timeout, and the worker is told."""
    async with visitor.worker() as worker:
        (task_id,) = await visitor.submit(timeout=0.5, max_attempts=1)
        await worker.hear("task")
        cancel = await worker.hear("cancel")
        expect((cancel["task_id"], cancel["attempt"], cancel["reason"]) == (task_id, 1, "timeout"), cancel)
        await worker.done({"task_id": task_id})
        expect((await worker.hear("ack"))["status"] == "stale", "a result after the timeout was not stale")


@stories.must
async def cancel(visitor: Visitor) -> None:
    """A task that is cancelled is taken away, and the worker is told."""
    async with visitor.worker() as worker:
        (task_id,) = await visitor.submit()
        await worker.hear("task")
        await visitor.call("POST", f"/tasks/{task_id}/cancel", {})
        cancel = await worker.hear("cancel")
        expect((cancel["task_id"], cancel["attempt"]) == (task_id, 1), cancel)
        expect(bool(cancel.get("reason")), cancel)


@stories.must
async def credit(visitor: Visitor) -> None:
    """A worker never holds more than _max_outstanding."""
    async with visitor.worker(_max_outstanding="2") as worker:
        await visitor.submit(4)
        tasks = [await worker.hear("task") for _ in range(2)]
        await worker.hear_nothing()
        await worker.done(tasks[0])
        await worker.hear("ack")
        await worker.hear("task")
        await worker.hear_nothing()


@stories.must
async def capacity(visitor: Visitor) -> None:
    """Capacity changes how many tasks a worker holds; lowered below what it holds, nothing comes until it fits."""
    async with visitor.worker(_max_outstanding="1") as worker:
        await visitor.submit(6)
        tasks = [await worker.hear("task")]
        await worker.say({"kind": "capacity", "max_outstanding": 3})
        tasks += [await worker.hear("task") for _ in range(2)]
        await worker.say({"kind": "capacity", "max_outstanding": 1})
        await worker.hear_nothing()  # and the server has time to hear of it
        for task in tasks[:2]:
            await worker.done(task)
            await worker.hear("ack")
        await worker.hear_nothing()
        await worker.done(tasks[2])
        await worker.hear("ack")
        await worker.hear("task")


@stories.must
async def worker_drains(visitor: Visitor) -> None:
    """A worker that drains gets nothing new, and may finish what it holds."""
    async with visitor.worker() as worker:
        (held,) = await visitor.submit()
        task = await worker.hear("task")
        await worker.say({"kind": "drain"})
        with suppress(TimeoutError):  # a server need not confirm it, but one that does may be slow
            async with asyncio.timeout(visitor.server.patience_seconds):
                message = await worker._next()
                expect(message.get("kind") == "drain", message)
        await visitor.submit()
        await worker.hear_nothing()
        await worker.done(task)
        expect((await worker.hear("ack"))["status"] == "accepted", "the held task's result was not accepted")
        expect((await visitor.task(held))["state"] == "succeeded", await visitor.task(held))


@stories.must
async def bad_frames(visitor: Visitor) -> None:
    """A frame that cannot be used is answered by an error, and costs neither the connection nor a task."""
    async with visitor.worker() as worker:
        (task_id,) = await visitor.submit()
        task = await worker.hear("task")
        for frame in BAD_FRAMES:
            await worker.say(frame)
            error = await worker.hear("error")
            expect(isinstance(error.get("code"), str) and isinstance(error.get("message"), str), error)
        await worker.done(task)
        await worker.hear("ack")
        expect((await visitor.task(task_id))["attempt"] == 1, await visitor.task(task_id))


@stories.must
async def too_many_bad_frames(visitor: Visitor) -> None:
    """More than 100 unusable frames in a minute close the connection with 4429."""
    async with visitor.worker(v1=False) as worker:
        for _ in range(UNUSABLE_A_MINUTE):
            await worker.say("nonsense")
        await visitor.submit()
        await worker.hear("task")
        with suppress(ConnectionClosed):
            await worker.say("nonsense")
        await worker.closed_with(4429)


@stories.must
async def large_frame(visitor: Visitor) -> None:
    """A frame above the limit closes the connection with 1009."""
    async with visitor.worker() as worker:
        with suppress(ConnectionClosed):
            await worker.say("x" * (visitor.server.frame_limit_bytes + 1))
        await worker.closed_with(1009)


@stories.must
async def bad_parameters(visitor: Visitor) -> None:
    """Parameters or a registration that cannot be used close with 4400 and a reason, or refuse the handshake."""
    for query, first in (
        ("task=a&_unknown=1", None),
        ("task=a,,b", None),
        ("task=a&cloud=", None),
        ("task=a&_max_outstanding=none", None),
        ("task=a&_" + "x" * 300 + "=1", None),
        ("", "{}"),
        ("", "[]"),
        ("", '[{"name": "a", "filter": {"x": 1}}]'),
    ):
        try:
            async with visitor.worker(query=query, welcomed=False) as worker:
                if first is not None:
                    await worker.say(first)
                reason = await worker.closed_with(4400)
                expect(reason, f"no reason for {query or first}")
        except InvalidStatus as refusal:
            expect(400 <= refusal.response.status_code < 500, f"answered {refusal.response.status_code}")


@stories.must
async def no_registration(visitor: Visitor) -> None:
    """A worker that does not register in time is closed with 4408."""
    async with visitor.worker(query="", welcomed=False) as worker:
        await worker.closed_with(4408)


@stories.must
async def broken_connection(visitor: Visitor) -> None:
    """Whatever way a connection ends, its tasks are given to others at once."""
    ids = await visitor.submit(3)
    async with visitor.worker() as worker:
        for _ in ids:
            await worker.hear("task")
        worker.socket.transport.abort()
    async with visitor.worker() as heir:
        tasks = [await heir.hear("task") for _ in ids]
        seen = sorted((task["task_id"], task["attempt"]) for task in tasks)
        expect(seen == sorted((task_id, 2) for task_id in ids), seen)


@stories.must
async def half_open_connection(visitor: Visitor) -> None:
    """The server pings; a peer that does not answer is let go, and its tasks are given to others."""
    parts = urlsplit(visitor.server.url)
    if parts.scheme == "wss":
        raise NotApplicable("needs a connection without TLS")
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port or 80)
    try:
        writer.write(
            f"GET {parts.path}?task={visitor.name} HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\n"
            f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: {SUBPROTOCOL}\r\n"
            f"Authorization: Bearer {visitor.server.worker_key}\r\n\r\n".encode()
        )
        try:
            async with asyncio.timeout(visitor.server.patience_seconds):
                status = await reader.readline()
        except TimeoutError:
            raise Deviation("the handshake is not answered") from None
        expect(b" 101 " in status, status)
        (task_id,) = await visitor.submit()
        await visitor.until(task_id, lambda task: task["state"] == "assigned")
        async with visitor.worker() as heir:
            task = await heir.hear("task")
            expect((task["task_id"], task["attempt"]) == (task_id, 2), task)
    finally:
        writer.close()


@stories.must
async def slow_reader(visitor: Visitor) -> None:
    """A worker that reads late loses nothing, and holds up nobody else meanwhile."""
    async with visitor.worker(_max_outstanding="60") as slow:
        slow.socket.transport.pause_reading()
        ids = await visitor.submit(40, data=LARGE)
        other = visitor.server.visitor()
        async with other.worker() as quick:
            await other.submit()
            await quick.done(await quick.hear("task"))
            await quick.hear("ack")
        slow.socket.transport.resume_reading()
        tasks = [await slow.hear("task") for _ in ids]
        expect(sorted(task["task_id"] for task in tasks) == sorted(ids), f"{len(tasks)} tasks, some twice")
        await slow.done(tasks[0])
        await slow.hear("ack")


@stories.must
async def operator_drains(visitor: Visitor) -> None:
    """A worker that an operator drains is told so, and may finish what it holds."""
    async with visitor.worker(welcomed=False) as worker:
        worker_id = (await worker.hear("welcome"))["worker_id"]
        await visitor.submit()
        task = await worker.hear("task")
        await visitor.operate(f"/workers/{worker_id}/drain")
        expect("reason" in await worker.hear("drain"), "a drain without a reason")
        await worker.done(task)
        expect((await worker.hear("ack"))["status"] == "accepted", "the held task's result was not accepted")


@stories.must
async def operator_disconnects(visitor: Visitor) -> None:
    """A worker that an operator disconnects is closed with 4409, and its tasks cost no attempt."""
    async with visitor.worker(welcomed=False) as worker:
        worker_id = (await worker.hear("welcome"))["worker_id"]
        (task_id,) = await visitor.submit(max_attempts=1)
        await worker.hear("task")
        await visitor.operate(f"/workers/{worker_id}/disconnect")
        await worker.closed_with(4409)
    async with visitor.worker() as heir:
        task = await heir.hear("task")
        if (task["task_id"], task["attempt"]) != (task_id, 2):
            raise Deviation(str(task))
