"""What becomes of a thread's connection between two pieces of work."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection, connections

from queueapp.database import give_back_connection, is_postgresql
from queueapp.models import Queue

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def thread() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as executor:
        yield executor
        executor.submit(connections.close_all).result()


def work() -> object:
    """Returns the driver's connection that it was done on, as the thread has it afterwards."""
    try:
        Queue.objects.count()
    finally:
        give_back_connection()
    return connection.connection


def test_postgresqls_goes_back_to_the_pool_and_sqlites_stays_open(thread: ThreadPoolExecutor) -> None:
    first, second = (thread.submit(work).result() for _ in range(2))
    if is_postgresql():
        assert (first, second) == (None, None)
    else:
        assert first is not None
        assert second is first


def test_one_that_has_failed_is_kept_by_nobody(thread: ThreadPoolExecutor) -> None:
    def fail() -> object:
        work()
        connection.errors_occurred = True
        give_back_connection()
        return connection.connection

    assert thread.submit(fail).result() is None
