"""What the stories against a worker have at hand: a server played by script, and the worker's process."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from queueapp.conformance.stories import Deviation, NotApplicable, expect
from queueapp.domain.errors import RegistrationError
from queueapp.domain.times import as_rfc3339
from queueapp.protocol import SUBPROTOCOL, Drain, Release, Result, Unusable, WorkerMessage
from queueapp.registration import Offer, Query, parse_first_message, parse_query
from queueapp.worker_frames import parse_auth, parse_frame

WORKER_PATH = "/work/queue"
TOKEN = "wq_conformance"
TIMEOUT_SECONDS = 300
HEARTBEAT_SECONDS = 10
END_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Worker:
    """How the worker is started, and what it is given to do. `quiet_seconds`: how long it is watched for doing
    nothing where it must do nothing; `patience_seconds`: how long for doing what it must."""

    command: str
    data: Any = "hello"
    patience_seconds: float = 30.0
    quiet_seconds: float = 5.0
    half_open_seconds: float = 60.0
    hammering_seconds: float = 0.2
    """Half a dozen returns in less than this altogether are no backing off."""


class Guest:
    """One connection of the worker, registered: what it says, and what it is told."""

    def __init__(self, socket: ServerConnection, query: Query, offers: Sequence[Offer], worker: Worker) -> None:
        self.socket = socket
        self.v1 = socket.subprotocol == SUBPROTOCOL
        self.batch = query.options.batch
        self.max_outstanding = query.options.max_outstanding
        self.attached_at = time.monotonic()
        self._subscription = offers[0].subscription
        self._worker = worker
        self._unread: list[WorkerMessage] = []
        self._acknowledged: set[Result] = set()

    def needs_v1(self) -> None:
        if not self.v1:
            raise NotApplicable(f"the worker does not ask for {SUBPROTOCOL}")

    def task(self, number: int = 1, attempt: int = 1, **changes: Any) -> dict[str, Any]:
        """A task that this worker offers to perform; the same number is the same task."""
        deadline = datetime.now(UTC) + timedelta(seconds=TIMEOUT_SECONDS)
        return {
            "kind": "task",
            "task_id": str(uuid.UUID(int=(0x0190 << 112) | (0x7 << 76) | (0x8 << 60) | number)),
            "task_name": self._subscription.name,
            "attrs": {criterion: sorted(values)[0] for criterion, values in self._subscription.criteria},
            "data": self._worker.data,
            "attempt": attempt,
            "timeout": TIMEOUT_SECONDS,
            "deadline": as_rfc3339(deadline),
            "priority": 0,
            **changes,
        }

    async def say(self, message: Any) -> None:
        with suppress(ConnectionClosed):  # what follows finds that out
            await self.socket.send(message if isinstance(message, str | bytes) else json.dumps(message))

    async def give(self, *tasks: dict[str, Any]) -> None:
        for task in tasks:
            await self.say(task)

    async def acknowledge(self, result: Result, task: dict[str, Any], status: str = "accepted") -> None:
        if self.v1:
            attempt = task["attempt"] if result.attempt is None else result.attempt
            await self.say({"kind": "ack", "task_id": result.task_id, "attempt": attempt, "status": status})
            self._acknowledged.add(result)

    async def hear(self) -> WorkerMessage:
        """The next message; Deviation for one that cannot be used, or where none comes.

        A result that comes again is passed over: it may have been sent before its worker read the acknowledgement.
        """
        try:
            async with asyncio.timeout(self._worker.patience_seconds):
                while (message := await self._next()) in self._acknowledged:
                    pass
        except TimeoutError:
            raise Deviation(f"nothing said within {self._worker.patience_seconds:g} s") from None
        expect(not isinstance(message, Unusable), message)
        return message

    async def hear_of(self, task: dict[str, Any]) -> WorkerMessage:
        """The next message about this task, however long that takes; a result that comes again is one."""
        while getattr(message := await self._next(), "task_id", None) != task["task_id"]:
            pass
        return message

    async def _next(self) -> WorkerMessage:
        try:
            while not self._unread:
                frame = await self.socket.recv()
                expect(isinstance(frame, str), "a binary frame")
                self._unread = parse_frame(str(frame))
        except ConnectionClosed:
            raise Deviation(f"the worker closed with {self.socket.close_code}") from None
        return self._unread.pop(0)

    async def hear_result(self) -> Result:
        """The next result; progress and other signs before it are passed over."""
        while not isinstance(message := await self.hear(), Result):
            expect(not isinstance(message, Drain | Release), f"{message} instead of a result")
        return message

    async def perform(self, *tasks: dict[str, Any]) -> list[Result]:
        """Give the tasks, and acknowledge the result of each."""
        await self.give(*tasks)
        return await self.end(*tasks)

    async def end(self, *tasks: dict[str, Any]) -> list[Result]:
        """Acknowledge the result of each of these tasks, which the worker has been given."""
        missing = {task["task_id"]: task for task in tasks}
        results = []
        while missing:
            result = await self.hear_result()
            task = missing.pop(result.task_id, None)
            expect(task is not None, f"a result for {result.task_id}, which is not waited for")
            assert task is not None
            expect(result.attempt in (None, task["attempt"]), f"attempt {result.attempt} of {task['attempt']}")
            await self.acknowledge(result, task)
            results.append(result)
        return results

    async def closed(self, seconds: float) -> bool:
        """Whether the worker's connection ends in that time."""
        try:
            async with asyncio.timeout(seconds):
                while True:
                    await self.socket.recv()
        except TimeoutError:
            return False
        except ConnectionClosed:
            return True


class Host:
    """One story's server, to which its worker comes."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.visits: list[float] = []
        """When a connection was opened, usable or not."""
        self.process: asyncio.subprocess.Process
        self._guests: asyncio.Queue[Guest | Deviation] = asyncio.Queue()

    async def guest(self, seconds: float | None = None) -> Guest:
        """The worker's next connection, once it is registered."""
        seconds = self.worker.patience_seconds if seconds is None else seconds
        try:
            async with asyncio.timeout(seconds):
                guest = await self._guests.get()
        except TimeoutError:
            ended = self.process.returncode
            state = "" if ended is None else f"; its process ended with {ended}"
            raise Deviation(f"the worker did not come within {seconds:g} s{state}") from None
        if isinstance(guest, Deviation):
            raise guest
        return guest

    async def receive(self, socket: ServerConnection) -> None:
        self.visits.append(time.monotonic())
        try:
            async with asyncio.timeout(self.worker.patience_seconds):
                guest = await self._introduced(socket)
        except (Deviation, RegistrationError) as problem:
            self._guests.put_nowait(Deviation(str(problem)))
            return
        except (TimeoutError, ConnectionClosed):
            self._guests.put_nowait(Deviation("the worker did not say who it is and what it offers"))
            return
        if guest.v1:
            await guest.say(
                {
                    "kind": "welcome",
                    "worker_id": str(uuid.uuid4()),
                    "max_outstanding": guest.max_outstanding,
                    "heartbeat": HEARTBEAT_SECONDS,
                    "server": "conformance",
                }
            )
        self._guests.put_nowait(guest)
        await socket.wait_closed()

    async def _introduced(self, socket: ServerConnection) -> Guest:
        assert socket.request is not None
        parts = urlsplit(socket.request.path)
        expect(parts.path == WORKER_PATH, f"came to {parts.path}")
        query = parse_query(parts.query.encode(), default_max_outstanding=100)
        header = socket.request.headers.get("Authorization", "")
        token = header.removeprefix("Bearer ") if header else parse_auth(str(await socket.recv()))
        expect(token == TOKEN, f"the credential {token!r}")
        offers = query.offers or parse_first_message(str(await socket.recv()))
        return Guest(socket, query, offers, self.worker)


@asynccontextmanager
async def hosting(worker: Worker) -> AsyncIterator[Host]:
    """A server on a free port, and the worker started with its URL; both are gone at the end."""
    host = Host(worker)
    async with serve(
        host.receive,
        "127.0.0.1",
        0,
        subprotocols=[Subprotocol(SUBPROTOCOL)],
        select_subprotocol=_v1_if_asked,
        max_size=None,
        ping_interval=None,
        close_timeout=1,
    ) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        host.process = await asyncio.create_subprocess_shell(
            worker.command.replace("{url}", url).replace("{token}", TOKEN),
            env={**os.environ, "WORKQUEUE_URL": url, "WORKQUEUE_TOKEN": TOKEN},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            yield host
        finally:
            with suppress(ProcessLookupError):
                os.killpg(host.process.pid, signal.SIGKILL)
            await host.process.wait()


def _v1_if_asked(_: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    return Subprotocol(SUBPROTOCOL) if SUBPROTOCOL in offered else None


def gaps(times: Sequence[float]) -> list[float]:
    return [later - earlier for earlier, later in itertools.pairwise(times)]
