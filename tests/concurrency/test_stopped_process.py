"""A server process that is stopped (SIGSTOP, a frozen machine) while it holds a transaction open."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from socket import socket

import psycopg
import pytest
from django.db import OperationalError, connection
from django.test import Client

from queueapp import database
from queueapp.auth import create_key
from queueapp.conf import config
from queueapp.inbox import Inbox
from queueapp.lifecycle import Report
from queueapp.models import Task
from tests.integration.fleet import Fleet, submit
from tests.servers import PostgresServer

pytestmark = pytest.mark.django_db(transaction=True)


def test_the_results_of_a_pass_that_outlived_its_transaction_are_kept_for_the_next():
    """Proves `database.noticing_loss`: PostgreSQL ends the connection with an error that is no OperationalError,
    and the results would be dropped as ones that cannot be written."""
    fleet = Fleet()
    (worker,) = fleet.attach("task=t")
    (task_id,) = submit()
    fleet.run()
    fleet.unlisten()
    inbox = Inbox(reports=[Report(worker, task_id, done=True)])
    with stopping_before("WITH report"), pytest.raises(OperationalError):
        fleet.process.run(inbox)
    connection.close()  # as the hub does
    assert Task.objects.get(pk=task_id).state == "assigned"
    (verdict,) = [verdict for _, verdict in fleet.process.run(inbox).verdicts]
    assert verdict == "accepted"


def test_a_request_that_outlived_its_transaction_is_answered_503():
    _, token = create_key("a producer", "producer")
    client = Client(headers={"Authorization": f"Bearer {token}"})
    task = {"name": "t", "concurrency_key": "k"}  # which is noted beside it: a plain one is a single statement
    with stopping_before("INSERT INTO queueapp_task"):
        answer = client.post("/api/v1/tasks", task, content_type="application/json")
    assert (answer.status_code, answer["Retry-After"]) == (503, "1")
    connection.close()
    assert not Task.objects.exists()


def test_the_limits_of_a_brief_transaction_end_with_it(monkeypatch):
    """A pooled connection goes to others, who may take longer."""

    def limits() -> list[str]:
        with connection.cursor() as cursor:
            cursor.execute("SHOW idle_in_transaction_session_timeout")
            idle = cursor.fetchone()[0]
            cursor.execute("SHOW lock_timeout")
            return [idle, cursor.fetchone()[0]]

    monkeypatch.setattr(database, "config", config)
    before = limits()
    with database.brief_transaction():
        assert limits() == ["2s", "3s"]
    assert limits() == before == ["10s", "10s"]


def test_one_that_reads_nothing_of_a_large_answer_lets_go_of_its_locks_too():
    """As one that is stopped while its assignments come: to the server it is busy, not idle."""
    with socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with PostgresServer(port) as server, psycopg.connect(server.url) as other:
        options = connection.settings_dict["OPTIONS"]["options"]
        with psycopg.connect(server.tcp_url, options=options) as stopped:
            stopped.execute("SELECT pg_advisory_xact_lock(1)")
            stopped.pgconn.send_query(b"SELECT repeat('x', 50000000)")
            stopped.pgconn.flush()
            # Without a limit of its own: the statement's, of half a minute, would not end it either.
            other.execute("SET lock_timeout = '45s'")
            other.execute("SELECT pg_advisory_xact_lock(1)")
            stopped.close()


@contextmanager
def stopping_before(statement: str) -> Iterator[None]:
    """As if this process stood still before the first such statement, for longer than its transaction may."""
    stopped: list[int] = []

    def stop(execute, sql, params, many, context):
        if statement in sql and not stopped:
            execute("SET LOCAL idle_in_transaction_session_timeout = '20ms'", None, False, context)
            stopped.append(connection.connection.info.backend_pid)
            wait_until_gone(stopped[0])
        return execute(sql, params, many, context)

    with connection.execute_wrapper(stop):
        yield


def wait_until_gone(pid: int) -> None:
    settings = connection.settings_dict
    with psycopg.connect(
        dbname=settings["NAME"], user=settings["USER"], host=settings["HOST"], port=settings["PORT"] or None
    ) as other:
        while other.execute("SELECT 1 FROM pg_stat_activity WHERE pid = %s", [pid]).fetchone():
            other.rollback()
