"""Attempts: what became of the assignments of tasks to workers."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.db.models.functions import Left
from django.http import HttpRequest
from django.utils.safestring import SafeString

from queueapp.admin.display import EXCERPT_LENGTH, block, excerpt, json_block, link, short, worker_link
from queueapp.admin.lists import OneOf, unfiltered, where
from queueapp.admin.readonly import ReadOnlyAdmin
from queueapp.domain.ids import as_id
from queueapp.domain.states import Outcome
from queueapp.models import Attempt, Task


class ByOutcome(OneOf):
    title = "outcome"
    parameter_name = "outcome"
    options = {"all": unfiltered, **{str(outcome): where(outcome=str(outcome)) for outcome in Outcome}}


def attempt_worker(attempt: Attempt) -> str:
    return worker_link(attempt.worker, attempt.worker_id)


def details_of(attempt: Attempt) -> str:
    """What the worker said beside the error; most say nothing, which is stored as null."""
    return json_block(None if attempt.details == "null" else attempt.details)


@admin.register(Attempt)
class AttemptAdmin(ReadOnlyAdmin[Attempt]):
    lookups = ("outcome", "worker__id__exact")
    ordering = ("-id",)
    list_display = (
        "id",
        "task_link",
        "number",
        "outcome",
        "error_excerpt",
        "worker_link",
        "assigned_at",
        "ended_at",
    )
    list_filter = (ByOutcome,)
    search_help_text = "A task's or a worker's id."
    fields = (
        "task_link",
        "number",
        "outcome",
        "worker_link",
        "assigned_at",
        "ended_at",
        "error_text",
        "details_text",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Attempt]:
        return super().get_queryset(request).select_related("task", "worker").defer("task__data", "task__result")

    def for_list(self, queryset: QuerySet[Attempt]) -> QuerySet[Attempt]:
        start = Left("error", EXCERPT_LENGTH * 2)
        return queryset.defer("error", "details", "task__data", "task__result", "task__error").annotate(
            error_start=start
        )

    def search(self, queryset: QuerySet[Attempt], word: str) -> QuerySet[Attempt]:
        wanted = as_id(word)
        return queryset.filter(Q(task=wanted) | Q(worker=wanted)) if wanted else queryset.none()

    @admin.display(description="task")
    def task_link(self, attempt: Attempt) -> SafeString:
        return link(Task, attempt.task_id, f"{attempt.task.name} {short(attempt.task_id)}")

    @admin.display(description="worker")
    def worker_link(self, attempt: Attempt) -> str:
        return attempt_worker(attempt)

    @admin.display(description="error")
    def error_excerpt(self, attempt: Attempt) -> str:
        return excerpt(vars(attempt)["error_start"])

    @admin.display(description="error")
    def error_text(self, attempt: Attempt) -> str:
        return block(attempt.error)

    @admin.display(description="details")
    def details_text(self, attempt: Attempt) -> str:
        return details_of(attempt)
