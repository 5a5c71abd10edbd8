"""A task's priority, changed on its page."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import pytest
from admin_rows import Stage, page_url, shown, staff
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse

from queueapp import lifecycle
from queueapp.models import AuditEntry, Task

pytestmark = pytest.mark.django_db(transaction=True)


def give(client: Client, task_id: UUID, priority: str = "7") -> list[str]:
    """What is said on the page to which it leads."""
    address = reverse("admin:queueapp_task_priority", args=[task_id])
    response = client.post(address, {"priority": priority}, follow=True)
    assert response.redirect_chain == [(page_url("task", task_id), 302)]
    return [f"{message.level_tag}: {message}" for message in response.context["messages"]]


def priority_of(task_id: UUID) -> int:
    return Task.objects.get(pk=task_id).priority


def has_form(client: Client, task_id: UUID) -> bool:
    return 'name="priority"' in shown(client, page_url("task", task_id))


def test_it_is_given_and_written_down(admin_client: Client, stage: Stage) -> None:
    task_id = stage.task()
    assert has_form(admin_client, task_id)
    assert give(admin_client, task_id, "-7") == ["success: The task has priority -7 now."]
    assert priority_of(task_id) == -7
    entry = AuditEntry.objects.get()
    assert (entry.who, entry.action, entry.kind, entry.subject, entry.count, entry.detail) == (
        "admin",
        "prioritise",
        "task",
        str(task_id),
        1,
        "priority=-7",
    )
    assert LogEntry.objects.get().object_id == str(task_id)


def test_one_that_is_assigned_has_it_for_the_attempts_to_come(admin_client: Client, stage: Stage) -> None:
    task_id = stage.task()
    stage.assign(stage.worker(), task_id)
    assert give(admin_client, task_id) == ["success: The task has priority 7 now."]
    assert priority_of(task_id) == 7


def test_of_one_that_is_over_it_is_said_so_and_nothing_changed(admin_client: Client, stage: Stage) -> None:
    task_id = stage.task()
    lifecycle.cancel([task_id], stage.now)
    assert not has_form(admin_client, task_id)
    told = give(admin_client, task_id)
    assert told == ["error: A task that is cancelled cannot be given another priority."]
    assert priority_of(task_id) == 0
    assert not AuditEntry.objects.exists()


def test_one_that_it_has_already_is_no_change(admin_client: Client, stage: Stage) -> None:
    told = give(admin_client, stage.task(), "0")
    assert told == ["warning: The task has priority 0 already."]
    assert not AuditEntry.objects.exists()
    assert not LogEntry.objects.exists()


@pytest.mark.parametrize("priority", ["", "high", "101", "-101", "1.5", "9" * 40, "\x00", "\u0667"])
def test_what_is_no_priority_is_refused(admin_client: Client, stage: Stage, priority: str) -> None:
    task_id = stage.task()
    told = give(admin_client, task_id, priority)
    assert told == ["error: The priority must be a whole number from -100 to 100."]
    assert priority_of(task_id) == 0


def test_only_who_may_steer_does(stage: Stage) -> None:
    task_id = stage.task()
    viewer, operator = staff("view"), staff("view", "change", models=["task"])
    assert not has_form(viewer, task_id)
    address = reverse("admin:queueapp_task_priority", args=[task_id])
    assert viewer.post(address, {"priority": "7"}).status_code == 403
    assert priority_of(task_id) == 0
    assert has_form(operator, task_id)
    assert give(operator, task_id) == ["success: The task has priority 7 now."]


@pytest.mark.parametrize("method", ["get", "head", "put", "delete"])
def test_nothing_but_a_form_gives_it(admin_client: Client, stage: Stage, method: str) -> None:
    address = reverse("admin:queueapp_task_priority", args=[stage.task()])
    assert getattr(admin_client, method)(address).status_code == 405


def test_a_task_that_is_not_there_has_none(admin_client: Client) -> None:
    address = reverse("admin:queueapp_task_priority", args=[uuid4()])
    assert admin_client.post(address, {"priority": "7"}).status_code == 404


def test_a_form_of_another_site_gives_none(admin_user: Any, stage: Stage) -> None:
    task_id = stage.task()
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin_user)
    address = reverse("admin:queueapp_task_priority", args=[task_id])
    assert client.post(address, {"priority": "7"}).status_code == 403
    assert priority_of(task_id) == 0
