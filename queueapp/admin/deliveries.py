"""Callbacks: what was delivered of them, what is owed, what was given up."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.db.models.functions import Left
from django.http import HttpRequest
from django.utils.safestring import SafeString

from queueapp.admin.display import EXCERPT_LENGTH, excerpt, link, short
from queueapp.admin.lists import OneOf, as_id, unfiltered, where
from queueapp.admin.readonly import ReadOnlyAdmin
from queueapp.domain.names import is_storable
from queueapp.domain.states import DeliveryState
from queueapp.domain.webhooks import HOST_LENGTH
from queueapp.models import Delivery, Task


class ByDeliveryState(OneOf):
    title = "state"
    parameter_name = "state"
    options = {"all": unfiltered, **{str(state): where(state=str(state)) for state in DeliveryState}}


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyAdmin[Delivery]):
    lookups = ("state",)
    ordering = ("-id",)
    list_display = (
        "short_id",
        "task_link",
        "host",
        "state",
        "attempts",
        "last_status",
        "error_excerpt",
        "next_attempt_at",
        "created_at",
        "ended_at",
    )
    list_filter = (ByDeliveryState,)
    search_help_text = "A callback's or a task's id, or a host."
    fields = (
        "id",
        "task_link",
        "url",
        "state",
        "attempts",
        "last_status",
        "last_error",
        "next_attempt_at",
        "created_at",
        "ended_at",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Delivery]:
        return super().get_queryset(request).select_related("task").defer("ended_as", "task__data", "task__result")

    def for_list(self, queryset: QuerySet[Delivery]) -> QuerySet[Delivery]:
        start = Left("last_error", EXCERPT_LENGTH * 2)
        return queryset.defer("last_error", "ended_as", "task__data", "task__result", "task__error").annotate(
            error_start=start
        )

    def search(self, queryset: QuerySet[Delivery], word: str) -> QuerySet[Delivery]:
        if wanted := as_id(word):
            return queryset.filter(pk=wanted) | queryset.filter(task=wanted)
        usable = len(word) <= HOST_LENGTH and is_storable(word)
        return queryset.filter(host=word.lower()) if usable else queryset.none()

    @admin.display(description="id")
    def short_id(self, delivery: Delivery) -> str:
        return short(delivery.pk)

    @admin.display(description="task")
    def task_link(self, delivery: Delivery) -> SafeString:
        return link(Task, delivery.task_id, f"{delivery.task.name} {short(delivery.task_id)}")

    @admin.display(description="URL")
    def url(self, delivery: Delivery) -> str:
        return delivery.task.callback_url or ""

    @admin.display(description="last error")
    def error_excerpt(self, delivery: Delivery) -> str:
        return excerpt(vars(delivery)["error_start"])
