"""A scrape looks at no more rows than are live."""

from __future__ import annotations

import pytest
from plans import plans_of
from rows import assigned, pending, session

from queueapp.api import metrics

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.only_on("sqlite", reason="plans are read as SQLite writes them"),
]


def test_the_gauges_of_tasks_are_read_from_partial_indexes():
    assigned(session(), 3)
    pending(50)
    pending(3, delay=60)
    pending(3, concurrency_key="k")
    ready, counted, held_back, delayed, held = plans_of(metrics._tasks, "queueapp_task")
    assert "INDEX task_ready " in ready
    assert "INDEX task_ready " in counted
    assert "INDEX task_line" in held_back
    assert "INDEX task_delayed" in delayed
    assert "INDEX task_holder" in held
    assert all("SCAN queueapp_task\n" not in plan + "\n" for plan in (ready, counted, held_back, delayed, held))
