"""Transactions that meet exactly where a test wants them to.

Each party runs on a thread with a connection of its own, and may stop at a chosen point until it is let go on.
Nobody sleeps and nobody hopes: the test goes on when PostgreSQL says that the other waits for a lock, or when it
has ended.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import Event, Thread
from time import monotonic
from types import TracebackType
from typing import Any, Generic, TypeVar
from unittest.mock import patch

from django.db import connection, connections, transaction

R = TypeVar("R")
S = TypeVar("S")

PATIENCE_SECONDS = 30.0
"""Longer than PostgreSQL lets anybody wait for a lock: what takes longer hangs."""
LOOK_SECONDS = 0.002


@dataclass(frozen=True)
class Point:
    """Before or after the first statement with that text in it, quotes left out; `COMMIT` is a statement too."""

    text: str
    after: bool = False


BEFORE_COMMIT = Point("COMMIT")
"""All of the first transaction is written, and nobody else can see it yet."""


def before(text: str) -> Point:
    return Point(text)


def after(text: str) -> Point:
    return Point(text, after=True)


def in_a_transaction(act: Callable[..., R], *arguments: Any) -> R:
    """Of the caller's: a submission by itself is one statement, in which nobody can stop."""
    with transaction.atomic():
        return act(*arguments)


def interleave(first: Callable[[], R], stop: Point, second: Callable[[], S]) -> tuple[R, S]:
    """`first` runs until it comes to `stop`; `second` until it waits for a lock, or to its end; then both to their
    ends. What they returned; what one of them raised is raised."""
    with Party(first, stop) as one:
        one.until_it_stops()
        with Party(second) as other:
            other.until_it_waits()
            one.go_on()
            return one.result(), other.result()


class Party(Generic[R]):
    """Somebody who acts on a connection of his own, from the start of the `with` until its end."""

    def __init__(self, act: Callable[[], R], stop: Point | None = None) -> None:
        self._act = act
        self._stop = stop
        self._pid: int | None = None
        self._connected = Event()
        self._resting = Event()
        self._going_on = Event()
        self._returned: list[R] = []
        self._error: BaseException | None = None
        self._thread = Thread(target=self._run, name=f"party {act}")

    def __enter__(self) -> Party[R]:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.go_on()
        self._thread.join(PATIENCE_SECONDS)
        assert not self._thread.is_alive(), "A party hangs."

    def until_it_stops(self) -> None:
        assert self._resting.wait(PATIENCE_SECONDS), "A party neither stops nor ends."
        if self._error is not None:
            raise self._error
        assert not self._returned, f"A party never came to {self._stop}."

    def until_it_waits(self) -> None:
        """For a lock that somebody else holds; or, where nothing holds it up, until it has ended or stops."""
        assert self._connected.wait(PATIENCE_SECONDS), "A party got no connection."
        give_up_at = monotonic() + PATIENCE_SECONDS
        while not self._resting.wait(LOOK_SECONDS):
            if self.is_blocked():
                return
            assert monotonic() < give_up_at, "A party neither waits nor ends."

    def go_on(self) -> None:
        self._going_on.set()

    def result(self) -> R:
        self._thread.join(PATIENCE_SECONDS)
        if self._error is not None:
            raise self._error
        assert self._returned, "A party hangs."
        return self._returned[0]

    # ---- on its own thread

    def _run(self) -> None:
        own = connections["default"]
        commit = own.commit
        try:
            with own.cursor() as cursor:
                cursor.execute("SELECT pg_backend_pid()")
                self._pid = cursor.fetchone()[0]
            self._connected.set()
            with (
                own.execute_wrapper(self._execute),
                patch.object(own, "commit", lambda: self._passing("COMMIT", commit)),
            ):
                self._returned.append(self._act())
        except BaseException as error:
            self._error = error
        finally:
            own.close()
            self._connected.set()
            self._resting.set()

    def _execute(self, execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        return self._passing(sql.replace('"', ""), lambda: execute(sql, *rest))

    def _passing(self, statement: str, act: Callable[[], Any]) -> Any:
        if self._stop is None or self._stop.text not in statement:
            return act()
        stop, self._stop = self._stop, None
        if not stop.after:
            self._rest()
        done = act()
        if stop.after:
            self._rest()
        return done

    def _rest(self) -> None:
        self._resting.set()
        assert self._going_on.wait(PATIENCE_SECONDS), "Nobody let a party go on."

    def is_blocked(self) -> bool:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_blocking_pids(%s) <> '{}'", [self._pid])
            return bool(cursor.fetchone()[0])
