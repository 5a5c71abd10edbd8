"""What is asked once a second for a page that is watched reads no table to its end."""

from __future__ import annotations

from datetime import timedelta

import pytest
from plans import analyse, plans_of
from rows import NOW, assigned, error, pending, session

from queueapp import lifecycle, snapshots
from queueapp.models import Attempt, Operation, Task, WorkerSession
from queueapp.subjects import Subject

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.only_on("sqlite", reason="plans are read as SQLite writes them"),
]

TABLES = ("queueapp_task", "queueapp_attempt", "queueapp_workersession", "queueapp_operation")


@pytest.fixture(autouse=True)
def rows() -> None:
    worker, *_ = [session(name=f"w{number}") for number in range(1, 501)]
    for task_id in assigned(worker, 3):
        assert lifecycle.finish([error(worker, task_id)], NOW) == ["accepted"]
    assigned(worker, 3)
    pending(50)
    Operation.objects.create(action="cancel", filter={"all": True}, asked_by="ada", created_at=NOW)
    analyse()


def plans(subject: Subject) -> list[str]:
    return plans_of(lambda: snapshots.make(subject), *TABLES)


def subjects() -> list[Subject]:
    tasks = tuple(Task.objects.order_by("-id").values_list("id", flat=True)[:3])
    worker, operation = WorkerSession.objects.get(name="w1").pk, Operation.objects.get().pk
    group = Attempt.objects.values_list("error_group", flat=True).first()
    filters = ("", "state:failed", "name:tag", f"error_group:{group}", "state:pending error:~x")
    return [
        Subject("task", tasks[0]),
        *(Subject("tasks", rows=tasks, is_beginning=True, text=text) for text in filters),
        Subject("worker", worker),
        Subject("workers", rows=(worker,), is_beginning=True),
        Subject("queue", "tag"),
        Subject("queues", rows=("tag",), is_beginning=True),
        Subject("operation", operation),
        Subject("operations", rows=(operation,), is_beginning=True),
        Subject("errors", rows=(group,), since=NOW - timedelta(days=1)),
    ]


def test_every_statement_finds_its_rows_by_an_index():
    for subject in subjects():
        for plan in plans(subject):
            scans = [
                line
                for line in plan.splitlines()
                if line.startswith("SCAN") and any(name in line for name in (*TABLES, "task", "session"))
            ]
            assert [line for line in scans if "INDEX" not in line] == [], (subject, plan)


def test_newer_errors_come_from_the_index_of_their_ends():
    (plan,) = plans(subjects()[-1])
    assert "INDEX attempt_error_ended (ended_at>?)" in plan, plan


def test_what_a_worker_holds_is_counted_in_task_holder():
    plan = plans(Subject("workers", rows=(WorkerSession.objects.get(name="w1").pk,)))[0]
    assert "INDEX task_holder (worker_id=?)" in plan, plan


def test_as_many_statements_are_asked_for_fifty_rows_as_for_one():
    worker, operation = WorkerSession.objects.get(name="w1").pk, Operation.objects.get().pk
    tasks = tuple(Task.objects.values_list("id", flat=True)[:50])
    for kind, known in (("tasks", tasks[0]), ("workers", worker), ("operations", operation)):
        one, many = (Subject(kind, rows=rows, is_beginning=True) for rows in ((known,), (known, *tasks[1:])))
        assert len(plans(one)) == len(plans(many)) <= 3, kind
