"""Tasks: found, read, cancelled, retried."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.exceptions import SuspiciousOperation
from django.db.models import QuerySet
from django.db.models.functions import Left
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from queueapp import database, lifecycle
from queueapp.admin.display import EXCERPT_LENGTH, attributes, live, value_block, worker_link
from queueapp.admin.task_list import COLUMNS, TaskChangeList
from queueapp.admin.task_page import TaskPage
from queueapp.models import Task
from queueapp.querysets import TaskQuerySet


@admin.register(Task)
class TaskAdmin(TaskPage):
    noun = "task"
    watched = "tasks"
    ordering = ("-id",)
    list_display = (*COLUMNS, "attempts_of", "priority", "created_at", "finished_at")
    actions = ("cancel", "retry")
    fieldsets = (
        (None, {"fields": ("id", "name", "attributes", ("state", "reason"), "worker_link")}),
        ("Attempts", {"fields": (("attempts_of", "attempts_used"),)}),
        (
            "Times",
            {
                "fields": (
                    ("created_at", "available_at", "delayed_until"),
                    ("waiting_since", "assigned_at", "deadline"),
                    ("finished_at", "expires_at"),
                )
            },
        ),
        (
            "Policy",
            {
                "fields": (
                    ("priority", "timeout_seconds", "spill_after_seconds"),
                    ("max_attempts", "retry_on", "backoff"),
                    "avoided",
                )
            },
        ),
        ("Concurrency", {"fields": (("concurrency_key", "held_back"),)}),
        ("Origin", {"fields": ("submitted_by", "unique_key", "tags", "traceparent", "callback_url")}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Task]:
        # Joined and not looked up one by one: a worker or a key may have been pruned, and is None then.
        return super().get_queryset(request).select_related("route", "worker", "last_worker", "submitted_by")

    def for_list(self, queryset: QuerySet[Task]) -> QuerySet[Task]:
        start = Left("error", EXCERPT_LENGTH * 2)
        return queryset.defer("data", "result", "error").annotate(error_start=start)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[TaskChangeList]:
        return TaskChangeList

    def response_action(
        self, request: HttpRequest, queryset: QuerySet[Task], *arguments: Any, **options: Any
    ) -> HttpResponse | None:
        if request.POST.get("select_across", "0") != "0":
            raise SuspiciousOperation("What is done to everything that matches is an operation.")
        return super().response_action(request, queryset, *arguments, **options)

    @admin.display(description="attributes")
    def attributes(self, task: Task) -> str:
        return attributes(task.route.attrs)

    @admin.display(description="attempt")
    def attempts_of(self, task: Task) -> SafeString:
        return format_html("{}/{}", live("attempt", task.attempt), task.max_attempts)

    @admin.display(description="worker")
    def worker_link(self, task: Task) -> str:
        """Who holds it or, once nobody does, who held it last."""
        if task.worker_id is not None:
            return worker_link(task.worker, task.worker_id)
        return worker_link(task.last_worker, task.last_worker_id)

    @admin.display(description="workers to avoid")
    def avoided(self, task: Task) -> str:
        return value_block(task.avoid)

    @admin.action(description="Cancel selected tasks", permissions=["steer"])
    def cancel(self, request: HttpRequest, tasks: TaskQuerySet) -> None:
        self.steer(
            request, tasks.live(), lambda ids: lifecycle.cancel(ids, database.now()), "cancelled", action="cancel"
        )

    @admin.action(description="Retry selected tasks", permissions=["steer"])
    def retry(self, request: HttpRequest, tasks: TaskQuerySet) -> None:
        self.steer(
            request, tasks.terminal(), lambda ids: lifecycle.retry(ids, database.now()), "retried", action="retry"
        )
