"""A submission that is one statement on PostgreSQL, and meets one that is several in a transaction."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection

from queueapp import database, lifecycle
from queueapp.lifecycle import storing
from queueapp.models import Queue, Route, Task
from tests.concurrency.interleaving import after, interleave
from tests.integration.rows import NOW, submission

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
