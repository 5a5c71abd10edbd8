"""Brief transactions, which whoever assigns and whoever takes in results opens again and again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryFile

import pytest
from django.db import connection, transaction

from queueapp import database
from queueapp.models import Queue

pytestmark = pytest.mark.django_db(transaction=True)


@contextmanager
def asking() -> Iterator[list[str]]:
    """What is sent to the server, a line for each message that is answered, as libpq notes it."""
    asked: list[str] = []
    connection.ensure_connection()
    driver = connection.connection.pgconn
    with TemporaryFile("w+") as noted:
        driver.trace(noted.fileno())
        try:
            yield asked
        finally:
            driver.untrace()
        noted.seek(0)
        asked += [line for line in noted if "\tF\t" in line and "Query" in line]


def test_one_begins_in_the_message_with_its_lock() -> None:
    """Guard: `database._begin`."""
    with asking() as asked, database.brief_transaction(database.DISPATCH_LOCK):
        pass
    opening, commit = asked
    assert "BEGIN; " in opening
    assert "pg_advisory_xact_lock" in opening
    assert "COMMIT" in commit


class Undone(Exception):
    """What ends a transaction here."""


@contextmanager
def undone() -> Iterator[None]:
    with pytest.raises(Undone):
        yield


@pytest.mark.parametrize("has_begun", [True, False])
def test_one_within_another_ends_with_that(has_begun: bool) -> None:
    with undone(), transaction.atomic():
        if has_begun:
            Queue.objects.count()
        with database.brief_transaction():
            Queue.objects.create(name="tag")
        raise Undone
    assert not Queue.objects.exists()
    assert connection.connection.autocommit


def test_one_of_who_commits_by_hand_leaves_that_to_them() -> None:
    connection.set_autocommit(False)
    try:
        with database.brief_transaction():
            Queue.objects.create(name="tag")
        connection.rollback()
        Queue.objects.create(name="tag")
        connection.rollback()
    finally:
        connection.set_autocommit(True)
    assert not Queue.objects.exists()


def test_one_that_fails_leaves_nothing_behind() -> None:
    with undone(), database.brief_transaction():
        Queue.objects.create(name="tag")
        raise Undone
    assert not Queue.objects.exists()
    with database.brief_transaction():
        Queue.objects.create(name="tag")
    assert Queue.objects.exists()
