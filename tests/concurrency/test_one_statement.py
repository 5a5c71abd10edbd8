"""A submission that is one statement on PostgreSQL, and meets one that is several in a transaction."""

from __future__ import annotations

import os
from typing import Any

import psycopg
import pytest
from django.db import connection, transaction

from queueapp import database, lifecycle, queues
from queueapp.lifecycle import storing
from queueapp.models import Queue, Route, Task, new_id
from tests.concurrency.interleaving import BEFORE_COMMIT, Party, after, interleave
from tests.integration.rows import NOW, submission
from tests.servers import fresh_database

pytestmark = pytest.mark.django_db(transaction=True)


def submit(*keys: str) -> list[lifecycle.Receipt]:
    return lifecycle.submit([submission(unique_key=key) for key in keys], None, NOW)


class Noted:
    """The statements that are executed, and whether each is a transaction of its own."""

    def __init__(self) -> None:
        self.alone: list[bool] = []

    def __call__(self, execute: Any, *rest: Any) -> Any:
        self.alone.append(connection.get_autocommit())
        return execute(*rest)


class TestASubmission:
    @pytest.mark.parametrize("tasks", [1, 100])
    def test_of_a_queue_and_a_route_that_are_new_is_one_statement_by_itself(self, tasks):
        noted = Noted()
        with connection.execute_wrapper(noted):
            lifecycle.submit([submission() for _ in range(tasks)], None, NOW)
        assert noted.alone == [True]
        assert (Queue.objects.count(), Route.objects.count(), Task.objects.count()) == (1, 1, tasks)

    def test_with_a_note_beside_it_is_a_transaction(self):
        noted = Noted()
        with connection.execute_wrapper(noted):
            lifecycle.submit([submission(concurrency_key="k")], None, NOW)
        assert noted.alone == [False, False]

    def test_makes_queues_in_the_order_of_all_who_make_them_whatever_is_that_of_the_database(self):
        """Guard: the collation in `storing._insert_queues`. (Otherwise it deadlocks with workers that attach.)"""
        names = ["a", "B", "a_c", "a.b", "aa"]
        routes = storing._ROUTES.rows((new_id(), name, "{}") for name in names)
        with (
            fresh_database(os.environ["TEST_DATABASE_URL"], "template0", language="en-US") as url,
            psycopg.connect(url) as elsewhere,
        ):
            elsewhere.execute(
                "CREATE TABLE queueapp_queue (name text UNIQUE, paused bool, paused_by text, note text)"
            )
            insert = f"WITH {storing._ROUTES.table} {storing._insert_queues()} RETURNING name"
            made = [name for (name,) in elsewhere.execute(insert, [routes])]
            by_language = "SELECT name FROM queueapp_queue ORDER BY name"
            assert [name for (name,) in elsewhere.execute(by_language)] != made
        assert made == sorted(names)

    def test_does_not_wait_for_who_is_changing_its_queue(self):
        """Guard: what is there is left out, for a conflict with it would be waited for."""
        submit("a")

        def pause() -> None:
            with transaction.atomic():
                queues.pause(["tag"], "ada", "", NOW)

        with Party(pause, BEFORE_COMMIT) as pausing:
            pausing.until_it_stops()
            assert submit("b")[0].created
            pausing.go_on()
            pausing.result()

    @pytest.mark.parametrize("table", ["queue", "route"])
    def test_waits_for_what_another_makes_before_it_makes_what_comes_later(self, table, monkeypatch):
        """Guard: what `storing._insert_all` says comes after what. (Otherwise they deadlock.)"""
        monkeypatch.setattr(storing, "BATCH", 1)  # so that two tasks are several statements
        monkeypatch.setattr(database, "RETRIES", 1)
        first, second = interleave(
            lambda: submit("a", "b"), after(f"INSERT INTO queueapp_{table}"), lambda: submit("a")
        )
        assert first[0].task_id == second[0].task_id
        assert Task.objects.count() == 2
