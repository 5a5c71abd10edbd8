"""Tasks: found, read, cancelled, retried."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import F, QuerySet
from django.db.models.functions import Left
from django.http import HttpRequest
from django.utils.text import unescape_string_literal

from queueapp import database, lifecycle
from queueapp.admin.attempts import attempt_worker, details_of
from queueapp.admin.display import (
    EXCERPT_LENGTH,
    attributes,
    block,
    excerpt,
    json_block,
    short,
    value_block,
    worker_link,
)
from queueapp.admin.lists import OfQueue, OneOf, as_id, unfiltered, where
from queueapp.admin.readonly import ReadOnlyAdmin, ReadOnlyInline
from queueapp.domain.names import attribute_problem, is_storable
from queueapp.domain.states import TERMINAL_STATES
from queueapp.models import NAME_LENGTH, Attempt, Task
from queueapp.querysets import TaskQuerySet

ATTEMPTS_SHOWN = 100


class ByState(OneOf):
    title = "state"
    parameter_name = "state"
    options = {
        "all": unfiltered,
        "pending": TaskQuerySet.pending,
        "assigned": TaskQuerySet.assigned,
        **{str(state): where(state=str(state)) for state in TERMINAL_STATES},
    }


class AttemptsOfTask(ReadOnlyInline[Attempt]):
    """The latest of a task's attempts. One that was released again and again may have thousands."""

    model = Attempt
    fields = ("number", "outcome", "worker_link", "assigned_at", "ended_at", "error_text", "details_text")
    readonly_fields = fields
    ordering = ("-number",)
    verbose_name_plural = "attempts that ended otherwise than a plain first done"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Attempt]:
        latest = super().get_queryset(request).filter(number__gt=F("task__attempt") - ATTEMPTS_SHOWN)
        return latest.select_related("worker")

    @admin.display(description="worker")
    def worker_link(self, attempt: Attempt) -> str:
        return attempt_worker(attempt)

    @admin.display(description="error")
    def error_text(self, attempt: Attempt) -> str:
        return block(attempt.error)

    @admin.display(description="details")
    def details_text(self, attempt: Attempt) -> str:
        return details_of(attempt)


@admin.register(Task)
class TaskAdmin(ReadOnlyAdmin[Task]):
    noun = "task"
    lookups = ("state", "name")
    ordering = ("-id",)
    list_display = (
        "short_id",
        "name",
        "attributes",
        "state",
        "error_excerpt",
        "worker_link",
        "attempts_of",
        "priority",
        "created_at",
        "finished_at",
    )
    list_filter = (ByState, OfQueue)
    search_help_text = (
        "A task's id, attributes such as cloud=aws, the beginning of a task name. All of them must match."
    )
    actions = ("cancel", "retry")
    fieldsets = (
        (None, {"fields": ("id", "name", "attributes", ("state", "reason"), "worker_link", "error_text")}),
        ("Payload", {"fields": ("data_text", "result_text")}),
        ("Progress", {"fields": (("attempts_of", "attempts_used"), ("progress", "progress_message"))}),
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
    inlines = (AttemptsOfTask,)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Task]:
        # Joined and not looked up one by one: a worker or a key may have been pruned, and is None then.
        return super().get_queryset(request).select_related("route", "worker", "last_worker", "submitted_by")

    def for_list(self, queryset: QuerySet[Task]) -> QuerySet[Task]:
        start = Left("error", EXCERPT_LENGTH * 2)
        return queryset.defer("data", "result", "error").annotate(error_start=start)

    def search(self, queryset: QuerySet[Task], word: str) -> QuerySet[Task]:
        assert isinstance(queryset, TaskQuerySet)
        criterion, separator, value = word.partition("=")
        if separator:
            value = _unquoted(value)
            usable = attribute_problem(criterion, value) is None
            return queryset.with_attribute(criterion, value) if usable else queryset.none()
        if task_id := as_id(word):
            return queryset.filter(pk=task_id)
        usable = len(word) <= NAME_LENGTH and is_storable(word)
        return queryset.filter(name__startswith=word) if usable else queryset.none()

    @admin.display(description="id")
    def short_id(self, task: Task) -> str:
        return short(task.pk)

    @admin.display(description="attributes")
    def attributes(self, task: Task) -> str:
        return attributes(task.route.attrs)

    @admin.display(description="attempt")
    def attempts_of(self, task: Task) -> str:
        return f"{task.attempt}/{task.max_attempts}"

    @admin.display(description="worker")
    def worker_link(self, task: Task) -> str:
        """Who holds it or, once nobody does, who held it last."""
        if task.worker_id is not None:
            return worker_link(task.worker, task.worker_id)
        return worker_link(task.last_worker, task.last_worker_id)

    @admin.display(description="error")
    def error_excerpt(self, task: Task) -> str:
        return excerpt(vars(task)["error_start"])

    @admin.display(description="error")
    def error_text(self, task: Task) -> str:
        return block(task.error)

    @admin.display(description="data")
    def data_text(self, task: Task) -> str:
        return json_block(task.data)

    @admin.display(description="result")
    def result_text(self, task: Task) -> str:
        return json_block(task.result)

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


def _unquoted(value: str) -> str:
    """`cloud="a b"`: quotes hold together what spaces would part."""
    quoted = len(value) > 1 and value[0] in "\"'" and value[0] == value[-1]
    return unescape_string_literal(value) if quoted else value
