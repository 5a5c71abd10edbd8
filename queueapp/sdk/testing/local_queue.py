"""A queue in memory that speaks the worker protocol: who gets which task, and what becomes of it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Literal

import msgspec
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from queueapp.domain.matching import Subscription, best_specificity
from queueapp.domain.states import Outcome, TaskState
from queueapp.protocol import (
    Ack,
    Cancel,
    Capacity,
    Drain,
    DrainNotice,
    ErrorNotice,
    Extend,
    Progress,
    Release,
    Result,
    ServerMessage,
    Unusable,
    Welcome,
    WorkerMessage,
    serialise,
)
from queueapp.sdk.testing.local_task import LocalTask
from queueapp.worker_frames import parse_frame

Verdict = Literal["accepted", "stale", "unknown"]

HEARTBEAT_SECONDS = 10.0


class Attached:
    """A worker's connection: what it offers, and the tasks that it holds, each with the timer of its timeout."""

    def __init__(self, socket: ServerConnection, offers: list[Subscription], max_outstanding: int) -> None:
        self.socket = socket
        self.offers = offers
        self.max_outstanding = max_outstanding
        self.held: dict[str, asyncio.TimerHandle] = {}
        self.drains = False
        self._unsent: asyncio.Queue[str] = asyncio.Queue()

    @property
    def has_room(self) -> bool:
        return not self.drains and len(self.held) < self.max_outstanding

    def say(self, message: ServerMessage) -> None:
        self._unsent.put_nowait(serialise(message))

    async def send_all(self) -> None:
        try:
            while True:
                await self.socket.send(await self._unsent.get())
        except ConnectionClosed:
            return  # who reads meets the same end


class LocalQueue:
    """Used on one event loop."""

    def __init__(self) -> None:
        self.tasks: dict[str, LocalTask] = {}
        self.workers: list[Attached] = []
        self.attached = 0
        """How many connections there have been."""
        self._changed = asyncio.Event()
        self._delays: dict[str, asyncio.TimerHandle] = {}
        self._loop = asyncio.get_running_loop()

    async def serve(self, socket: ServerConnection, offers: list[Subscription], max_outstanding: int) -> None:
        """Until the connection ends, with which what it held goes to others."""
        worker = Attached(socket, offers, max_outstanding)
        worker.say(Welcome(str(id(socket)), max_outstanding, HEARTBEAT_SECONDS, "local"))
        self.workers.append(worker)
        self.attached += 1
        self._changed.set()
        sending = self._loop.create_task(worker.send_all())
        self.dispatch()
        try:
            async for frame in socket:
                for message in parse_frame(frame if isinstance(frame, str) else frame.decode()):
                    self._hear(worker, message)
        except ConnectionClosed:
            pass
        finally:
            sending.cancel()
            self._detach(worker)

    def break_connections(self) -> None:
        """Without a word to anybody; what is held is lost now, not when the sockets tell."""
        for worker in list(self.workers):
            worker.socket.transport.abort()
            self._detach(worker)

    def _detach(self, worker: Attached) -> None:
        if worker in self.workers:
            self.workers.remove(worker)
            for task_id in list(worker.held):
                self._end(worker, self.tasks[task_id], Outcome.LOST)

    async def next_change(self) -> None:
        """Until a worker has attached or a task has ended."""
        self._changed.clear()
        await self._changed.wait()

    def submit(self, task: LocalTask) -> None:
        self.tasks[task.id] = task
        self.dispatch()

    def cancel(self, task_id: str) -> None:
        task = self.tasks[task_id]
        if task.is_terminal:
            return
        for worker in self.workers:
            if task_id in worker.held:
                worker.say(Cancel(task_id, task.attempt, str(Outcome.CANCELLED)))
                worker.held.pop(task_id).cancel()
        task.cancel()
        self._changed.set()
        self.dispatch()

    def drain(self, reason: str) -> None:
        for worker in self.workers:
            worker.drains = True
            worker.say(DrainNotice(reason))

    def dispatch(self) -> None:
        """To the most specific workers, of those to the one that holds least."""
        pending = [task for task in self.tasks.values() if task.state is TaskState.PENDING]
        for task in sorted(pending, key=lambda each: -each.priority):
            if task.id in self._delays:
                continue
            matching = {
                worker: specificity
                for worker in self.workers
                if not worker.drains
                and (specificity := best_specificity(worker.offers, task.name, task.attrs)) is not None
            }
            highest = max(matching.values(), default=0)
            free = [worker for worker, each in matching.items() if each == highest and worker.has_room]
            if free:
                self._assign(task, min(free, key=lambda worker: len(worker.held)))

    def _assign(self, task: LocalTask, worker: Attached) -> None:
        task.assign()
        worker.say(task.frame((datetime.now(UTC) + timedelta(seconds=task.timeout)).isoformat()))
        self._restart_timeout(worker, task, task.timeout)

    def _restart_timeout(self, worker: Attached, task: LocalTask, seconds: float) -> None:
        if task.id in worker.held:
            worker.held[task.id].cancel()
        worker.held[task.id] = self._loop.call_later(seconds, self._time_out, worker, task)

    def _time_out(self, worker: Attached, task: LocalTask) -> None:
        worker.say(Cancel(task.id, task.attempt, str(Outcome.TIMEOUT)))
        self._end(worker, task, Outcome.TIMEOUT)

    def _hear(self, worker: Attached, message: WorkerMessage) -> None:
        match message:
            case Unusable(code, text):
                worker.say(ErrorNotice(code, text))
            case Drain():
                worker.drains = True
                worker.say(DrainNotice("Asked to finish and leave."))
            case Capacity(max_outstanding):
                worker.max_outstanding = max_outstanding
            case Result():
                worker.say(Ack(message.task_id, message.attempt, self._finish(worker, message)))
            case _:
                if message.task_id in worker.held:
                    self._hear_of(worker, self.tasks[message.task_id], message)
        self.dispatch()

    def _hear_of(self, worker: Attached, task: LocalTask, message: Progress | Extend | Release) -> None:
        match message:
            case Progress(_, fraction, text):
                task.progress = (fraction, text)
                self._restart_timeout(worker, task, task.timeout)
            case Extend(_, seconds):
                self._restart_timeout(worker, task, seconds)
            case Release():
                self._end(worker, task, Outcome.RELEASED)

    def _finish(self, worker: Attached, result: Result) -> Verdict:
        task = self.tasks.get(result.task_id)
        if task is None:
            return "unknown"
        if task.id not in worker.held or result.attempt not in (None, task.attempt):
            return "stale"
        if result.done:
            worker.held.pop(task.id).cancel()
            task.succeed(result)
            self._changed.set()
        else:
            self._end(worker, task, Outcome.ERROR, result)
        return "accepted"

    def _end(self, worker: Attached, task: LocalTask, outcome: Outcome, result: Result | None = None) -> None:
        worker.held.pop(task.id).cancel()
        delay_seconds = task.end_attempt(outcome, result)
        if task.state is TaskState.PENDING and delay_seconds:
            self._delays[task.id] = self._loop.call_later(delay_seconds, partial(self._is_due, task.id))
        self._changed.set()
        self.dispatch()

    def _is_due(self, task_id: str) -> None:
        del self._delays[task_id]
        self.dispatch()


def offers_of(text: str | bytes) -> list[Subscription]:
    """A worker's registration."""
    registration = msgspec.json.decode(text, type=list[_Offer])
    return [Subscription.of(offer.name, offer.filter) for offer in registration]


class _Offer(msgspec.Struct):
    name: str
    filter: dict[str, list[str]]
