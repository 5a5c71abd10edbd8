"""Operations: what goes on with many tasks at once, how far it has come, and a button to stop it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from queueapp import database, operations
from queueapp.admin.display import block, excerpt, short
from queueapp.admin.links import bulk, now_of
from queueapp.admin.lists import OneOf, unfiltered, where
from queueapp.admin.readonly import ReadOnlyAdmin
from queueapp.domain.filter_words import in_words
from queueapp.domain.ids import as_id
from queueapp.domain.states import Action, OperationState
from queueapp.models import Operation
from queueapp.querysets import OperationQuerySet


class ByOperationState(OneOf):
    title = "state"
    parameter_name = "state"
    options = {
        "all": unfiltered,
        "running": OperationQuerySet.running,
        "done": where(state=str(OperationState.DONE)),
        "stopped": where(state=str(OperationState.STOPPED)),
    }


@admin.register(Operation)
class OperationAdmin(ReadOnlyAdmin[Operation]):
    noun = "operation"
    watched = "operations"
    lookups = ("state",)
    ordering = ("-id",)
    list_display = ("short_id", "does", "tasks_start", "progress", "asked_by", "created_at", "finished_at")
    list_filter = (ByOperationState,)
    search_help_text = "An operation's id."
    actions = ("stop",)
    fields = ("progress", "does", "tasks", "asked_by", "created_at", "only", "id", "again")

    class Media:
        css = {"all": ["queueapp/operation.css"]}
        js = ["queueapp/operation.js"]

    def search(self, queryset: QuerySet[Operation], word: str) -> QuerySet[Operation]:
        wanted = as_id(word)
        return queryset.filter(pk=wanted) if wanted else queryset.none()

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        key = as_id(object_id)
        runs = key is not None and Operation.objects.running().filter(pk=key).exists()
        context = {**(extra_context or {}), **({} if runs else {"buttons": []})}
        return super().change_view(request, object_id, form_url, context)

    def page_context(
        self, request: HttpRequest, operation: Operation, context: Mapping[str, Any]
    ) -> dict[str, Any]:
        runs = operation.state == OperationState.RUNNING
        return {"now_address": now_of(f"operation/{operation.pk}")} if runs else {}

    @admin.display(description="id")
    def short_id(self, operation: Operation) -> str:
        return short(operation.pk)

    @admin.display(description="action")
    def does(self, operation: Operation) -> str:
        if operation.action == Action.PRIORITISE:
            return f"{operation.action} to {operation.priority}"
        return operation.action

    @admin.display(description="tasks")
    def tasks_start(self, operation: Operation) -> str:
        return excerpt(in_words(operation.filter))

    @admin.display(description="tasks")
    def tasks(self, operation: Operation) -> str:
        return block(in_words(operation.filter))

    @admin.display(description="progress")
    def progress(self, operation: Operation) -> SafeString:
        """A bar and a sentence, which a script keeps up to date as long as the operation runs."""
        counted = operation.counted_at is not None
        bar = format_html(' value="{}" max="{}"', operation.done, operation.total or 1) if counted else ""
        return format_html(
            '<span class="operation" data-row="{}" data-state="{}">'
            '<progress aria-label="progress"{}></progress> <span role="status">{}</span></span>',
            operation.pk,
            operation.state,
            bar,
            said_of(operation),
        )

    @admin.display(description="only")
    def only(self, operation: Operation) -> str:
        """How it was bounded by the key that began it."""
        bounds = []
        if operation.tasks_of_id is not None:
            bounds.append("the key's own tasks")
        if operation.names is not None:
            bounds.append(f"tasks named {', '.join(operation.names) or 'as nothing is'}")
        return block(" and ".join(bounds))

    @admin.display(description="again")
    def again(self, operation: Operation) -> SafeString:
        choices = {"action": operation.action}
        if operation.priority is not None:
            choices["priority"] = str(operation.priority)
        return format_html('<a href="{}">The same filter …</a>', bulk(operation.filter, **choices))

    @admin.action(description="Stop selected operations: no more tasks are changed", permissions=["steer"])
    def stop(self, request: HttpRequest, chosen: OperationQuerySet) -> None:
        self.steer(request, chosen.running(), stopped, "stopped", action="stop")


def stopped(operation_ids: Sequence[UUID]) -> Collection[UUID]:
    now = database.now()
    return [key for operation_id in sorted(operation_ids) for key in operations.stop(operation_id, now)]


def said_of(operation: Operation) -> str:
    """As `operation.js` says it."""
    done, total, state = operation.done, operation.total, operation.state
    if operation.counted_at is None and state == OperationState.RUNNING:
        return f"counting, {total:,} so far"
    left = f", {operation.unchanged:,} left as they were" if operation.unchanged else ""
    return f"{state}: {done:,} of {total:,}{left}"
