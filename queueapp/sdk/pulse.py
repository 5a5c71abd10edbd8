"""The signs of life of one attempt: given by its handler in any thread, passed on by the connection's loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress

from queueapp.protocol import MAX_EXTENSION_SECONDS
from queueapp.sdk import messages

Say = Callable[[str, str], None]
"""Sends a message about the task, on the loop: kind and JSON text."""

REPORT_SECONDS = 0.5
REPORTS_IN_A_TIMEOUT = 4
"""A handler may report as often as it likes: the server hears of the last word so often, and the first at once."""
WORTH_RENEWING = 0.1


class Pulse:
    """`deadline`, on the loop's clock, is when the attempt has been silent for too long: the server's, or a little
    later. Who is slow and gives signs never reaches it, who hangs does."""

    def __init__(self, task_id: str, timeout_seconds: float, say: Say) -> None:
        self._task_id = task_id
        self._timeout_seconds = timeout_seconds
        self._say = say
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._interval_seconds = min(REPORT_SECONDS, timeout_seconds / REPORTS_IN_A_TIMEOUT)
        self._lock = threading.Lock()
        self._unsaid: str | None = None
        self._is_coming = False
        self._next_report_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._has_ended = False
        self.deadline = self._loop.time() + timeout_seconds

    def start(self) -> None:
        """The handler begins now: it has its whole time, whatever the task has waited here."""
        began = self._loop.time()
        if began + self._timeout_seconds - self.deadline > WORTH_RENEWING * self._timeout_seconds:
            self._say("extend", messages.extend(self._task_id, min(self._timeout_seconds, MAX_EXTENSION_SECONDS)))
        self.deadline = began + self._timeout_seconds

    def end(self) -> None:
        """What has not been said is of no interest any more."""
        self._has_ended = True
        if self._timer is not None:
            self._timer.cancel()

    # ---- from any thread

    def progress(self, fraction: float, message: str) -> None:
        text = messages.progress(self._task_id, fraction, message)
        self.deadline = self._loop.time() + self._timeout_seconds
        with self._lock:
            self._unsaid = text
            if self._is_coming:
                return
            self._is_coming = True
        self._on_the_loop(self._report)

    def extend(self, seconds: float) -> None:
        text = messages.extend(self._task_id, seconds)
        self.deadline = self._loop.time() + seconds
        self._on_the_loop(self._extend, text)

    def _on_the_loop(self, call: Callable[..., None], *arguments: str) -> None:
        """On its own thread at once, so that nothing overtakes the result."""
        if threading.get_ident() == self._loop_thread:
            call(*arguments)
        else:
            with suppress(RuntimeError):  # the loop has ended, and left a handler behind that still reports
                self._loop.call_soon_threadsafe(call, *arguments)

    # ---- on the loop

    def _report(self) -> None:
        if self._has_ended:
            return
        now = self._loop.time()
        if now < self._next_report_at:
            self._timer = self._loop.call_at(self._next_report_at, self._report)
            return
        self._next_report_at = now + self._interval_seconds
        with self._lock:
            text, self._unsaid, self._is_coming = self._unsaid, None, False
        if text is not None:
            self._say("progress", text)

    def _extend(self, text: str) -> None:
        """After the progress that was reported before: the later sign counts."""
        if self._has_ended:
            return
        with self._lock:
            report, self._unsaid = self._unsaid, None
        if report is not None:
            self._say("progress", report)
        self._say("extend", text)
