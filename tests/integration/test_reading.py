"""A task that is read by its id is the one that the ORM reads, column by column."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone

from queueapp.domain.submission import Submission
from queueapp.lifecycle import submit
from queueapp.models import Task
from queueapp.reading import task_by_id

pytestmark = pytest.mark.django_db


def a_task() -> Task:
    (receipt,) = submit([Submission("tag", {"cloud": "aws"})], None, timezone.now())
    return Task.objects.select_related("route").get(pk=receipt.task_id)


def columns(task: Task | None) -> dict[str, Any]:
    assert task is not None
    return {field.attname: getattr(task, field.attname) for field in Task._meta.concrete_fields}


def test_with_what_a_submission_leaves_out():
    task = a_task()
    read = task_by_id(task.id)
    assert columns(read) == columns(task)
    assert read is not None
    assert (read.route.id, read.route.name, read.route.attrs) == (task.route_id, "tag", {"cloud": "aws"})


def test_with_a_value_of_its_type_in_every_column():
    task = a_task()
    assigned = {
        "state": "assigned",
        "worker_id": uuid4(),
        "last_worker_id": uuid4(),
        "submitted_by_id": 3,
        "attempt": 2,
        "attempts_used": 1,
        "retry_on": ["lost"],
        "backoff": {"initial": 1.5},
        "avoid": [str(uuid4())],
        "tags": ["a"],
        "progress": 0.25,
        "spill_after_seconds": 2.5,
        "assigned_at": timezone.now(),
        "deadline": timezone.now(),
        "expires_at": timezone.now(),
        "unique_key": "u",
        "concurrency_key": "c",
        "traceparent": "00-ab",
        "callback_url": "https://example.org",
    }
    Task.objects.filter(pk=task.id).update(**assigned)
    read = task_by_id(task.id)
    assert columns(read) == columns(Task.objects.get(pk=task.id))
    assert {name: type(value) for name, value in columns(read).items()} == {
        name: type(value) for name, value in columns(Task.objects.get(pk=task.id)).items()
    }


def test_is_none_where_there_is_none():
    assert task_by_id(uuid4()) is None
