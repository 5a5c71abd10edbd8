"""Live tasks that match a filter are counted from their partial indexes, and not among those that have ended."""

from __future__ import annotations

import pytest
from plans import analyse, plans_of
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
    analyse()


def test_each_kind_of_live_tasks_comes_from_its_index():
    counted: list[int] = []
    found = plans_of(lambda: counted.append(bulk.preview(Action.CANCEL, {"all": True}).count), "queueapp_task")
    assert counted == [59]
    for plan in found[: 3 * len(INDEXES)]:  # whether they are few, how many match, the newest of them
        assert any(f"INDEX {index}" in plan for index in INDEXES), plan
