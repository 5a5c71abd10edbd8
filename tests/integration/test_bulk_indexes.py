"""Live tasks that match a filter are counted from their partial indexes, and not among those that have ended."""

from __future__ import annotations

import pytest
from django.db import connection
from rows import assigned, pending, session

from queueapp import bulk
from queueapp.domain.states import Action

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.only_on("sqlite", reason="plans are read as SQLite writes them"),
]

INDEXES = ("task_ready", "task_delayed", "task_line", "task_holder")


@pytest.fixture(autouse=True)
def rows() -> None:
    assigned(session(), 3)
    pending(50)
    pending(3, delay=60)
    pending(3, concurrency_key="k")
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def test_each_kind_of_live_tasks_comes_from_its_index():
    asked: list[tuple[str, object]] = []

    def note(execute, sql, parameters, many, context):
        if "queueapp_task" in sql:
            asked.append((sql, parameters))
        return execute(sql, parameters, many, context)

    with connection.execute_wrapper(note):
        assert bulk.preview(Action.CANCEL, {"all": True}).count == 59
    with connection.cursor() as cursor:
        for sql, parameters in asked[
            : 3 * len(INDEXES)
        ]:  # whether they are few, how many match, the newest of them
            cursor.execute(f"EXPLAIN QUERY PLAN {sql}", parameters)
            plan = "\n".join(row[-1] for row in cursor.fetchall())
            assert any(f"INDEX {index}" in plan for index in INDEXES), plan
