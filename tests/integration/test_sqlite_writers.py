"""Writers of one process on SQLite: in line, and out of it in whatever way their transaction ends."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from django.db import OperationalError, connection, connections, transaction

from queueapp.models import Queue
from queueapp.sqlite.base import DatabaseWrapper
from queueapp.sqlite.turns import Turns

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.only_on("sqlite", reason="PostgreSQL has as many writers as there are"),
]


@pytest.fixture
def other() -> Iterator[ThreadPoolExecutor]:
    """A thread that writes too."""
    with ThreadPoolExecutor(1) as thread:
        yield thread
        thread.submit(connections.close_all).result()


def turns() -> Turns:
    return DatabaseWrapper._turns[str(connection.settings_dict["NAME"])]


def write(name: str) -> None:
    with transaction.atomic():
        Queue.objects.create(name=name)


def is_free() -> bool:
    if free := turns().take(0):
        turns().hand_on()
    return free


def test_the_second_waits_for_the_end_of_the_first(other: ThreadPoolExecutor) -> None:
    with transaction.atomic():
        Queue.objects.create(name="first")
        second: Future[None] = other.submit(write, "second")
        while not turns()._waiting:
            pass
        assert not second.done()
    second.result()
    assert Queue.objects.count() == 2


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_one_that_is_rolled_back_is_out_of_the_line(error: type[BaseException]) -> None:
    def fail() -> None:
        with transaction.atomic():
            assert not is_free()
            raise error

    with pytest.raises(error):
        fail()
    assert is_free()


def test_one_whose_commit_fails_is_out_of_the_line_when_it_has_been_rolled_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(wrapper: Any) -> None:
        raise OperationalError("disk I/O error")

    with pytest.raises(OperationalError), transaction.atomic():
        monkeypatch.setattr("django.db.backends.sqlite3.base.DatabaseWrapper._commit", fail)
    assert is_free()


def test_one_whose_connection_is_closed_is_out_of_the_line() -> None:
    def close() -> None:
        with transaction.atomic():
            connection.close()
            assert is_free()
            raise OperationalError

    with pytest.raises(OperationalError):
        close()
    assert is_free()


def test_one_that_could_not_begin_is_out_of_the_line(settings: Any) -> None:
    """Another process writes for longer than one waits."""
    connection.ensure_connection()
    connection.cursor().execute("PRAGMA busy_timeout = 1")
    with sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None) as another:
        another.execute("BEGIN IMMEDIATE")
        with pytest.raises(OperationalError, match="locked"), transaction.atomic():
            pass
        another.execute("ROLLBACK")
    assert is_free()
    connection.close()


def test_one_that_waits_for_too_long_is_told_as_by_sqlite(
    other: ThreadPoolExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(connection.settings_dict["OPTIONS"], "timeout", 0.001)
    with transaction.atomic(), pytest.raises(OperationalError, match="database is locked"):
        other.submit(write, "second").result()
    assert is_free()
