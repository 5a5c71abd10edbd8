"""Callbacks: what was delivered of them, what is owed, what was given up."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import QuerySet
from django.db.models.functions import Left
from django.http import HttpRequest
from django.utils.safestring import SafeString

from queueapp import callbacks, database
from queueapp.admin.display import EXCERPT_LENGTH, block, excerpt, link, short
from queueapp.admin.lists import OneOf, unfiltered
from queueapp.admin.readonly import ReadOnlyAdmin
from queueapp.domain.ids import as_id
from queueapp.domain.names import is_storable
from queueapp.domain.states import DeliveryState
from queueapp.domain.webhooks import HOST_LENGTH
from queueapp.models import Delivery, Task
from queueapp.querysets import DeliveryQuerySet

WORDS = {
    DeliveryState.PENDING: "owed",
    DeliveryState.DELIVERED: "delivered",
    DeliveryState.FAILED: "given up",
}


class ByDeliveryState(OneOf):
    title = "state"
    parameter_name = "state"
    options = {
        "all": unfiltered,
        "owed": DeliveryQuerySet.pending,
        "delivered": DeliveryQuerySet.delivered,
        "given up": DeliveryQuerySet.given_up,
    }


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyAdmin[Delivery]):
    noun = "callback"
    lookups = ("state",)
    ordering = ("-id",)
    list_display = (
        "short_id",
        "task_link",
        "host_shown",
        "standing",
        "attempts",
        "next_attempt_at",
        "last_status",
        "error_excerpt",
    )
    list_filter = (ByDeliveryState,)
    actions = ("try_again",)
    search_help_text = "A callback's or a task's id, or a host."
    fields = (
        "id",
        "task_link",
        "url",
        "standing",
        "attempts",
        "next_attempt_at",
        "last_status",
        "error_text",
        "created_at",
        "ended_at",
    )

    def has_steer_permission(self, request: HttpRequest) -> bool:
        """A callback is part of its task: who may steer these may have it made again."""
        return request.user.has_perm("queueapp.change_task")

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

    @admin.display(description="host")
    def host_shown(self, delivery: Delivery) -> str:
        return excerpt(delivery.host)

    @admin.display(description="state")
    def standing(self, delivery: Delivery) -> str:
        return WORDS[DeliveryState(delivery.state)]

    @admin.display(description="last error")
    def error_excerpt(self, delivery: Delivery) -> str:
        return excerpt(vars(delivery)["error_start"])

    @admin.display(description="last error")
    def error_text(self, delivery: Delivery) -> str:
        return block(delivery.last_error)

    @admin.action(description="Try selected callbacks again now", permissions=["steer"])
    def try_again(self, request: HttpRequest, selected: DeliveryQuerySet) -> None:
        # Those that were given up before there was this have nothing left to send.
        unfinished = selected.exclude(state=str(DeliveryState.DELIVERED)).filter(ended_as__isnull=False)
        self.steer(
            request,
            unfinished,
            lambda ids: callbacks.try_again(ids, database.now()),
            "tried again",
            action="try again",
        )
