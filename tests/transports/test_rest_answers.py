"""What a request asks the database: who submits one task waits for each of the answers."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from rest_framework.test import APIClient

from queueapp import database
from queueapp.auth import authenticate, create_key

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("either_way")]


class Asked:
    """The tables that the statements name first, in order."""

    def __init__(self) -> None:
        self.tables: list[str] = []

    def __call__(self, execute: Any, sql: str, *rest: Any) -> Any:
        self.tables.append(sql.split("queueapp_", 1)[1].split()[0])
        return execute(sql, *rest)


@pytest.mark.only_on("postgresql", reason="on SQLite nothing is waited for but the writer's turn")
def test_a_submission_that_nobody_reads_asks_for_the_key_and_stores_the_task(producer: APIClient):
    """Guards: `ApiKey.read_at`, for which the clock is not asked; `storing.is_one_statement`."""
    producer.get("/api/v1/tasks")  # the first use of a key is noted
    asked = Asked()
    with connection.execute_wrapper(asked):
        response = producer.post("/api/v1/tasks", [{"name": "tag"}], format="json")
    assert response.status_code == 201
    assert asked.tables == ["apikey", "queue"]


def test_the_time_that_is_told_with_a_key_is_the_databases():
    _, text = create_key("a producer", "producer")
    before = database.now()
    key = authenticate(text)
    assert key is not None
    assert before <= key.read_at <= database.now()
