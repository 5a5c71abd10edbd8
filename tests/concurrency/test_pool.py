"""The pool of connections to PostgreSQL: it hands out none that is dead, and waits for none for ever."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from threading import Barrier
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.db import InternalError, OperationalError, connection, transaction
from psycopg_pool import ConnectionPool

from queueapp.conf import Config
from queueapp.models import Queue
from queueapp.postgresql.base import DatabaseWrapper
from workqueue_project.postgresql import postgresql

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def limited() -> Iterator[Any]:
    """Makes connections of one pool, with settings of its own, to the tests' database."""
    made: list[DatabaseWrapper] = []

    def connect(**fields: Any) -> DatabaseWrapper:
        url = {**connection.settings_dict, "OPTIONS": {}}
        wrapper = DatabaseWrapper(postgresql(url, Config(**fields)), alias="limited")
        made.append(wrapper)
        return wrapper

    yield connect
    for wrapper in made:
        wrapper.close()
    if made:
        made[0].close_pool()


def pid_of(connection: Any) -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return cursor.fetchone()[0]


def end_backends(*pids: int) -> None:
    """As an administrator, a restart or a proxy does; returns when they are gone."""
    with psycopg.connect(**connection.get_connection_params(), autocommit=True) as admin:
        for pid in pids:
            assert admin.execute("SELECT pg_terminate_backend(%s, 10000)", [pid]).fetchone() == (True,)


class TestDeadConnections:
    def test_one_that_died_in_the_pool_is_replaced_before_it_is_used(self):
        dead = pid_of(connection)
        connection.close()
        end_backends(dead)
        assert pid_of(connection) != dead

    def test_all_that_died_in_the_pool_are_replaced(self):
        """As after a restart of the server."""
        connection.close()  # four is all there are
        all_have_one = Barrier(4)

        def open_one(_: int) -> int:
            with closing(connection):
                pid = pid_of(connection)
                all_have_one.wait()
                return pid

        with ThreadPoolExecutor(4) as threads:
            opened = list(threads.map(open_one, range(4)))
        end_backends(*opened)
        assert pid_of(connection) not in opened

    def test_one_that_died_in_use_fails_once_and_is_not_handed_out_again(self):
        dead = pid_of(connection)
        end_backends(dead)
        with pytest.raises(OperationalError):
            Queue.objects.count()
        connection.close()
        assert Queue.objects.count() == 0
        assert pid_of(connection) != dead


class TestALivingConnection:
    def test_is_handed_out_without_a_question_to_the_server(self, monkeypatch):
        """Guard: `queueapp.postgresql.base._lives`."""
        asked: list[object] = []
        monkeypatch.setattr(ConnectionPool, "check_connection", asked.append)
        for _ in range(2):
            pid_of(connection)
            connection.close()
        assert asked == []


class TestLimits:
    def test_who_finds_the_pool_empty_is_told_so_after_a_while(self, limited):
        first, second = (limited(database_pool_size=1) for _ in range(2))
        with closing(first):
            pid_of(first)
            first.pool.timeout = 0.1  # not before: to open one may take longer
            with pytest.raises(OperationalError, match="couldn't get a connection after"):
                pid_of(second)
        pid_of(second)

    def test_a_statement_is_ended(self, limited):
        with pytest.raises(OperationalError, match="statement timeout"):
            limited(statement_timeout_seconds=0.05).cursor().execute("SELECT pg_sleep(60)")

    def test_the_wait_for_a_lock_is_ended(self, limited):
        other = limited(lock_timeout_seconds=0.05)
        with transaction.atomic():
            connection.cursor().execute("SELECT pg_advisory_xact_lock(1)")
            with pytest.raises(OperationalError, match="lock timeout"):
                other.cursor().execute("SELECT pg_advisory_lock(1)")

    def test_who_stops_in_the_middle_of_a_transaction_lets_go_of_its_locks(self, limited):
        stopped = limited(idle_in_transaction_timeout_seconds=0.05)
        stopped.set_autocommit(False)
        stopped.cursor().execute("SELECT pg_advisory_xact_lock(1)")
        with transaction.atomic():
            connection.cursor().execute("SELECT pg_advisory_xact_lock(1)")
        # Not an OperationalError: who was stopped in a transaction sees this first, then a dead connection.
        with pytest.raises(InternalError, match="idle-in-transaction timeout"):
            stopped.cursor().execute("SELECT 1")

    def test_the_project_has_them_all(self):
        config = settings.WORKQUEUE
        limits = {
            "statement_timeout": config.statement_timeout_seconds,
            "lock_timeout": config.lock_timeout_seconds,
            "idle_in_transaction_session_timeout": config.idle_in_transaction_timeout_seconds,
        }
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT name, setting::float8 / 1000 FROM pg_settings WHERE name = ANY(%s)", [list(limits)]
            )
            assert dict(cursor.fetchall()) == limits
