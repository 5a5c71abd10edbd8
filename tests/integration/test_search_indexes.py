"""What a search looks at comes from an index, in portions: no table is read through, on either database."""

from __future__ import annotations

from uuid import UUID

import pytest
from plans import analyse, plans_of
from rows import NOW, assigned, error, pending, session

from queueapp import deadlines, lifecycle, searching
from queueapp.domain.filter_text import parse
from queueapp.models import Task
from queueapp.searching import page

pytestmark = pytest.mark.django_db

PRIMARY_KEY = ("sqlite_autoindex_queueapp_task_1", "queueapp_task_pkey")
PATIENCE_SECONDS = 60.0


@pytest.fixture(autouse=True)
def rows() -> UUID:
    """Tasks of each kind among others that succeeded, and the planner told of them."""
    worker = session(name="w7")
    for number in range(50):
        session(name=f"other {number}", node=worker.node)
    assigned(worker, 5)
    failed = assigned(worker, 5)
    lifecycle.finish([error(worker, task_id) for task_id in failed], NOW)
    pending(5)
    pending(5, delay=60)
    pending(5, concurrency_key="k")
    Task.objects.filter(pk__in=pending(500)).update(state="succeeded", finished_at=NOW)
    analyse()
    return worker.id


def plans(text: str) -> list[str]:
    """Of every statement over tasks that the search makes, where no table is read through as a whole."""
    document = parse(text).document
    with deadlines.within(PATIENCE_SECONDS):
        return plans_of(lambda: page(document, NOW), "queueapp_task")


def read_through(plan: str) -> bool:
    lines = [line.strip() for line in plan.splitlines()]
    return any("Seq Scan on queueapp_task" in line or line == "SCAN queueapp_task" for line in lines)


@pytest.mark.parametrize(
    ("text", "indexes"),
    [
        ("", PRIMARY_KEY),
        ("name:tag", PRIMARY_KEY),
        ("attr.cloud:aws", PRIMARY_KEY),
        ("error:~x", PRIMARY_KEY),
        ("worker:w7", PRIMARY_KEY),
        ("data.n:1", PRIMARY_KEY),
        ("tag:x age:<1h", PRIMARY_KEY),
        ("state:succeeded", PRIMARY_KEY),
        ("state:succeeded,failed", PRIMARY_KEY),
        ("state:failed", ("task_unsuccessful",)),
        ("state:failed,expired error:~x", ("task_unsuccessful",)),
        ("state:failed finished:<1h", ("task_unsuccessful",)),
        ("waiting:>5m", ("task_ready",)),
        ("waiting:>5m name:tag", ("task_ready",)),
        ("state:assigned", ("task_holder",)),
        ("state:assigned worker:w7", ("task_holder",)),
        ("state:pending", ("task_ready", "task_delayed", "task_line")),
        ("state:pending,assigned", ("task_ready", "task_delayed", "task_line", "task_holder")),
    ],
)
def test_a_search_looks_into(text: str, indexes: tuple[str, ...]) -> None:
    found = plans(text)
    assert not [plan for plan in found if read_through(plan)], found
    # What the indexes have found is then looked up by its ids.
    allowed = {*indexes, *PRIMARY_KEY}
    assert all(any(index in plan for index in allowed) for plan in found), found
    assert any(index in found[0] for index in indexes), found[0]


def test_what_waits_is_put_in_order_and_not_looked_for_among_all_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where many wait, a planner thinks that the newest of all tasks soon lead to some; they may be the oldest."""
    monkeypatch.setattr(searching, "FIRST_OF_FEW", 2)
    pending(300)
    Task.objects.filter(pk__in=pending(500)).update(state="succeeded", finished_at=NOW)
    analyse()
    _, newest, *_ = plans("waiting:>5m")
    assert "task_ready" in newest, newest
    assert not any(index in newest for index in PRIMARY_KEY), newest


def test_the_workers_of_a_name_come_from_their_index() -> None:
    assert any("session_name" in plan for plan in plans("worker:w7"))
