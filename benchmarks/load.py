"""The load: real workers over real WebSockets and a producer over REST, in a process of its own.

`python -m benchmarks.load` reads commands as JSON lines and answers each with one, so that who started it can
read the CPU of all processes at the moments between. It is lean, lest it be what is measured: `cpu_seconds` in
an answer says how much of a core it took.
"""

from __future__ import annotations

import asyncio
import resource
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import aiohttp
import msgspec
import picows
import uvloop

from benchmarks import producing, timing
from benchmarks.rows import Rows
from benchmarks.submissions import submission

PATIENCE_SECONDS = 600
HANDSHAKE_SECONDS = 60
ATTACHING_AT_ONCE = 50
POLL_SECONDS = 0.005


class Frame(msgspec.Struct):
    """What the load reads of a message of the server; the rest is skipped by the parser."""

    kind: str = ""
    task_id: str = ""
    attempt: int = 0
    status: str = ""
    data: msgspec.Raw = msgspec.Raw(b"null")


decode = msgspec.json.Decoder(Frame | list[Frame]).decode


class Worker(picows.WSListener):
    """Does every task at once: its result is its data."""

    def __init__(self, load: Load, batch: bool) -> None:
        self._load = load
        self._batch = batch
        self._parts = bytearray()
        self.transport: picows.WSTransport

    def on_ws_connected(self, transport: picows.WSTransport) -> None:
        self.transport = transport

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        match frame.msg_type:
            case picows.WSMsgType.TEXT | picows.WSMsgType.CONTINUATION:
                payload = frame.get_payload_as_bytes()
                if not frame.fin or self._parts:
                    self._parts += payload
                    if not frame.fin:
                        return
                    payload = bytes(self._parts)
                    self._parts.clear()
                self._read(payload)
            case picows.WSMsgType.PING:
                transport.send_pong(frame.get_payload_as_bytes())
            case picows.WSMsgType.CLOSE:
                self._load.ended(f"closed with {frame.get_close_code()}, {frame.get_close_message()!r}")
                transport.disconnect()

    def on_ws_disconnected(self, transport: picows.WSTransport) -> None:
        self._load.ended("disconnected")

    def _read(self, payload: bytes) -> None:
        frames = decode(payload)
        results = []
        for frame in frames if isinstance(frames, list) else (frames,):
            match frame.kind:
                case "task":
                    results.append(
                        b'{"task_id":"%s","result":"done","data":%s,"attempt":%d}'
                        % (frame.task_id.encode(), bytes(frame.data), frame.attempt)
                    )
                    self._load.received(frame.data)
                case "ack":
                    self._load.acknowledged(frame.status)
        if not results:
            return
        if self._batch:
            self.transport.send(picows.WSMsgType.TEXT, b"[%s]" % b",".join(results))
        else:
            for result in results:
                self.transport.send(picows.WSMsgType.TEXT, result)
        self._load.answered(len(results))


class Load:
    """The workers of one server (or of several, spread evenly), and a producer."""

    def __init__(self, urls: Sequence[str], producer_key: str, worker_key: str, database_url: str) -> None:
        self._urls = urls
        self._headers = {"Authorization": f"Bearer {producer_key}"}
        self._worker_key = worker_key
        self._rows = Rows(database_url)
        self._workers: list[Worker] = []
        self._batch = False
        self.leaving = False
        self.lost: list[str] = []
        self.first_received = 0.0
        self.on_task: Callable[[int], None] | None = None
        self._results = self._acks = self._wanted = 0
        self._all_answered = asyncio.Event()

    # ---- commands

    async def attach(self, workers: int, batch: bool, names: Sequence[str]) -> dict[str, Any]:
        """Workers for all of the names, `cloud=aws`. Without `batch` they are as plain as the protocol allows:
        one object a frame, no subprotocol, no acknowledgements."""
        self._batch, self.leaving = batch, False
        started = time.perf_counter()
        gate = asyncio.Semaphore(ATTACHING_AT_ONCE)
        already = self._rows.online_sessions()

        async def one(number: int) -> Worker:
            async with gate:
                return await self._connect(self._urls[number % len(self._urls)], names)

        self._workers += await asyncio.gather(*(one(number) for number in range(workers)))
        await self._until(lambda: self._rows.online_sessions() >= already + workers)
        return {"seconds": time.perf_counter() - started}

    async def run(self, tasks: int, bulk: int, names: Sequence[str]) -> dict[str, Any]:
        """Submit the tasks in arrays; the clock stops when every result is durable."""
        finished_before = self._rows.succeeded()
        self._expect(tasks)
        started, cpu_before = time.perf_counter(), _cpu_seconds()
        await self.submit(tasks, bulk, names)
        submitted = time.perf_counter()
        await self._all_durable()
        ended, cpu_after = time.perf_counter(), _cpu_seconds()
        self._check_finished(finished_before + tasks)
        return {
            "seconds": ended - started,
            "submit_seconds": submitted - started,
            "cpu_seconds": cpu_after - cpu_before,
        }

    async def submit(self, tasks: int, bulk: int, names: Sequence[str]) -> dict[str, Any]:
        async with self.session() as session:
            for start in range(0, tasks, bulk):
                url = self._urls[start // bulk % len(self._urls)]
                numbers = range(start, min(start + bulk, tasks))
                await self.post(session, url, [submission(n, names[n % len(names)]) for n in numbers])
        return {}

    async def work_off(self, tasks: int, workers: int, names: Sequence[str]) -> dict[str, Any]:
        """What is pending, by workers that come now; from the first task that one of them gets."""
        finished_before = self._rows.succeeded()
        self._expect(tasks)
        started, cpu_before, self.first_received = time.perf_counter(), _cpu_seconds(), 0.0
        await self.attach(workers, True, names)
        await self._all_durable()
        ended, cpu_after = time.perf_counter(), _cpu_seconds()
        self._check_finished(finished_before + tasks)
        await self.detach()
        return {
            "seconds": ended - self.first_received,
            "first_after_seconds": self.first_received - started,
            "cpu_seconds": cpu_after - cpu_before,
        }

    async def round_trips(self, tasks: int) -> dict[str, Any]:
        return await timing.round_trips(self, tasks)

    async def pace(self, rate: float, seconds: float, bulk: int) -> dict[str, Any]:
        return await timing.pace(self, rate, seconds, bulk)

    async def produce(self, producers: int, seconds: float, reads: bool, alone: bool) -> dict[str, Any]:
        return await producing.produce(
            self.url, self._headers["Authorization"], producers, seconds, reads=reads, alone=alone
        )

    async def detach(self) -> dict[str, Any]:
        self.leaving = True
        workers, self._workers = self._workers, []
        for worker in workers:
            worker.transport.send_close(picows.WSCloseCode.OK)
        await asyncio.gather(*(worker.transport.wait_disconnected() for worker in workers))
        await self._until(lambda: not self._rows.online_sessions())
        return {}

    # ---- what workers say

    def ended(self, how: str) -> None:
        if not self.leaving:
            self.lost.append(how)

    def received(self, data: msgspec.Raw) -> None:
        """A task has come. Who measures latency knows by the number in its data when it was sent."""
        if not self.first_received:
            self.first_received = time.perf_counter()
        if self.on_task is not None:
            self.on_task(msgspec.json.decode(data)["n"])

    def answered(self, results: int) -> None:
        self._results += results
        if not self._batch and self._results >= self._wanted:
            self._all_answered.set()

    def acknowledged(self, status: str) -> None:
        if status != "accepted":
            self.lost.append(f"a result was {status}")
        self._acks += 1
        if self._acks >= self._wanted:
            self._all_answered.set()

    # ---- what producers do

    @property
    def url(self) -> str:
        return self._urls[0]

    def session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(headers=self._headers)

    async def post(self, session: aiohttp.ClientSession, url: str, body: object, **headers: str) -> dict[str, Any]:
        """Submit a task, or an array of them."""
        async with session.post(
            f"{url}/api/v1/tasks",
            data=msgspec.json.encode(body),
            headers={"Content-Type": "application/json", **headers},
        ) as answer:
            if answer.status != 201:
                raise RuntimeError(f"{answer.status}: {await answer.text()}")
            return msgspec.json.decode(await answer.read())

    # ---- when all is done

    def _expect(self, tasks: int) -> None:
        self._results = self._acks = 0
        self._wanted = tasks
        self._all_answered.clear()

    async def _all_durable(self) -> None:
        """With acknowledgements when they are there; else when all results were sent and no task is assigned."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not self._all_answered.is_set():
                self._check()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._all_answered.wait(), 1)
            if not self._batch:
                await self._until(lambda: not self._rows.anything_assigned())

    def _check_finished(self, wanted: int) -> None:
        if (finished := self._rows.succeeded()) != wanted:
            raise RuntimeError(f"{finished} tasks have a result in the database, not {wanted}.")

    async def _until(self, condition: Callable[[], bool]) -> None:
        """Of the database, which tells nobody."""
        while not condition():
            self._check()
            await asyncio.sleep(POLL_SECONDS)

    def _check(self) -> None:
        if self.lost:
            raise RuntimeError(f"{len(self.lost)} workers had trouble, the first: {self.lost[0]}")

    async def _connect(self, url: str, names: Sequence[str]) -> Worker:
        headers = {"Authorization": f"Bearer {self._worker_key}"}
        query = ["_batch=1"] if self._batch else []
        if self._batch:
            headers["Sec-WebSocket-Protocol"] = "workqueue.v1"
        if len(names) == 1:
            query += [f"task={names[0]}", "cloud=aws"]
        address = f"{url.replace('http', 'ws', 1)}/work/queue?{'&'.join(query)}"
        worker = Worker(self, self._batch)
        await picows.ws_connect(
            lambda: worker, address, extra_headers=headers, websocket_handshake_timeout=HANDSHAKE_SECONDS
        )
        if len(names) > 1:
            offers = [{"name": name, "filter": {"cloud": "aws"}} for name in names]
            worker.transport.send(picows.WSMsgType.TEXT, msgspec.json.encode(offers))
        return worker


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def main() -> None:
    loop = asyncio.get_running_loop()
    load: Load | None = None
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        command = msgspec.json.decode(line)
        verb = command.pop("do")
        if verb == "aim":
            load = Load(**command)
            answer: dict[str, Any] = {}
        else:
            answer = await getattr(load, verb)(**command)
        print(msgspec.json.encode(answer).decode(), flush=True)


if __name__ == "__main__":
    uvloop.run(main())
