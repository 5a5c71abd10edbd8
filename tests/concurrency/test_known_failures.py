"""What is known of a statement that fails: that it is undone, or nothing."""

from __future__ import annotations

import pytest
from django.db import OperationalError, connection, connections, transaction

from queueapp import database
from queueapp.models import Queue

pytestmark = pytest.mark.django_db(transaction=True)


def test_that_waited_too_long_for_a_lock_is_known_to_be_undone():
    Queue.objects.create(name="tag")
    other = connections.create_connection("default")
    try:
        with transaction.atomic(), other.cursor() as cursor:
            Queue.objects.select_for_update().get()
            cursor.execute("SET lock_timeout = '10ms'")
            with pytest.raises(OperationalError) as raised:
                cursor.execute("UPDATE queueapp_queue SET note = 'x'")
    finally:
        other.close()
    assert database.is_known_to_be_undone(raised.value)


def test_of_a_connection_that_ends_nothing_is_known():
    """It may have ended after the commit."""
    with connection.cursor() as cursor, pytest.raises(OperationalError) as raised:
        cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
    assert not database.is_known_to_be_undone(raised.value)
    connection.close()
