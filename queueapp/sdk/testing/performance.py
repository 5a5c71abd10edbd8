"""Performs a task without a server: the worker's handler is chosen and called as in service."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import msgspec

from queueapp.domain.payloads import json_text
from queueapp.protocol import Result, TaskFrame
from queueapp.sdk import messages
from queueapp.sdk.framelimit import FrameLimit
from queueapp.sdk.handlers import AsyncHandler
from queueapp.sdk.performing import Performer
from queueapp.sdk.task import Task
from queueapp.sdk.worker import FRAME_LIMIT_BYTES, Worker
from queueapp.worker_frames import parse_frame


@dataclass(frozen=True, slots=True)
class Performance:
    """What the server would have heard of an attempt. `done` with `data`, or `error` with `details` and what it
    says of another attempt; neither where it was `cancelled`. `progress` and `extensions` as they were given."""

    done: bool = False
    data: Any = None
    error: str = ""
    details: Any = None
    retry: bool | None = None
    retry_after: float | None = None
    cancelled: bool = False
    progress: list[tuple[float, str]] = field(default_factory=list)
    extensions: list[float] = field(default_factory=list)


def perform(worker: Worker, name: str, data: Any = None, **options: Any) -> Performance:
    """As `perform_async`, in a test that is no coroutine."""
    return asyncio.run(perform_async(worker, name, data, **options))


async def perform_async(
    worker: Worker,
    name: str,
    data: Any = None,
    *,
    attrs: Mapping[str, str] | None = None,
    attempt: int = 1,
    timeout: float = 300.0,
    cancel_at: float | None = None,
) -> Performance:
    """Have the worker perform a task. `cancel_at`: it is cancelled when it reports that much progress.

    LookupError when no handler of the worker takes such a task, InvalidJson when nobody could submit the data.
    """
    handler = worker.find(name, attrs or {})
    if handler is None:
        raise LookupError(f"The worker has no handler for {name} with the attributes {dict(attrs or {})}.")
    signs = _Signs(cancel_at)
    task = Task(_frame(name, data, attrs or {}, attempt, timeout), signs)
    performer = Performer(FrameLimit(FRAME_LIMIT_BYTES))
    run = asyncio.create_task(performer.perform(handler, task))
    signs.watch(task, run if isinstance(handler, AsyncHandler) else None)
    await asyncio.wait([run])
    performer.close()
    if task.cancelled:
        return Performance(cancelled=True, progress=signs.reports, extensions=signs.extensions)
    [result] = parse_frame(run.result().text)
    assert isinstance(result, Result)
    payload = msgspec.json.decode(result.payload)
    if result.done:
        return Performance(True, payload, progress=signs.reports, extensions=signs.extensions)
    return Performance(
        error=result.error,
        details=payload,
        retry=result.retry,
        retry_after=result.retry_after,
        progress=signs.reports,
        extensions=signs.extensions,
    )


class _Signs:
    """Writes down what a handler says of itself."""

    def __init__(self, cancel_at: float | None) -> None:
        self.reports: list[tuple[float, str]] = []
        self.extensions: list[float] = []
        self._cancel_at = cancel_at
        self._task: Task | None = None
        self._run: asyncio.Task[Any] | None = None

    def watch(self, task: Task, run: asyncio.Task[Any] | None) -> None:
        """`run`: to be cancelled with the task."""
        self._task, self._run = task, run

    def progress(self, fraction: float, message: str) -> None:
        messages.progress("", fraction, message)  # refuses what is no fraction
        self.reports.append((fraction, message))
        if self._cancel_at is not None and fraction >= self._cancel_at and self._task is not None:
            self._task.cancel("cancelled")
            if self._run is not None:
                self._run.cancel()

    def extend(self, seconds: float) -> None:
        self.extensions.append(seconds)


def _frame(name: str, data: Any, attrs: Mapping[str, str], attempt: int, timeout: float) -> TaskFrame:
    return TaskFrame(
        task_id=str(uuid4()),
        task_name=name,
        attrs=msgspec.Raw(json_text(dict(attrs)).encode()),
        data=msgspec.Raw(json_text(data).encode()),
        attempt=attempt,
        timeout=timeout,
        deadline=(datetime.now(UTC) + timedelta(seconds=timeout)).isoformat(),
        priority=0,
    )
