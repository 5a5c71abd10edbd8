"""Queues: how much waits, who offers to do it; defaults edited, paused and resumed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.helpers import ActionForm
from django.db.models import Count, Min, Q, QuerySet
from django.http import HttpRequest
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.safestring import SafeString

from queueapp import database, queues
from queueapp.admin.display import NOTHING, age, excerpt, list_of
from queueapp.admin.lists import OneOf, unfiltered, where
from queueapp.admin.readonly import OperatorAdmin, RowForm
from queueapp.domain.names import is_storable
from queueapp.domain.states import TaskState
from queueapp.domain.submission import MAX_ATTEMPTS, MAX_CONCURRENCY, MAX_SECONDS
from queueapp.models import NAME_LENGTH, Queue, Subscription, Task, WorkerSession
from queueapp.querysets import QueueQuerySet

NOTE_LENGTH = 1000


@dataclass(slots=True)
class Figures:
    """What is alive in a queue. `oldest`: since when the oldest ready task has been waiting."""

    now: datetime
    pending: int = 0
    assigned: int = 0
    workers: int = 0
    oldest: datetime | None = None


class ByPause(OneOf):
    title = "state"
    parameter_name = "paused"
    options = {
        "all": unfiltered,
        "paused": QueueQuerySet.paused,
        "running": where(paused=False),
    }


class QueueForm(RowForm[Queue]):
    """The defaults for what is submitted, within the bounds of a submission. Empty: the general default."""

    timeout_seconds = forms.FloatField(
        min_value=0.001,
        max_value=MAX_SECONDS,
        required=False,
        help_text="How long an attempt may go without a result or a sign of progress.",
    )
    max_attempts = forms.IntegerField(min_value=1, max_value=MAX_ATTEMPTS, required=False)
    spill_after_seconds = forms.FloatField(
        min_value=0,
        max_value=MAX_SECONDS,
        required=False,
        help_text="After so long a less specific worker may take a waiting task. Empty: never.",
    )
    concurrency = forms.IntegerField(
        min_value=1,
        max_value=MAX_CONCURRENCY,
        required=False,
        help_text="How many tasks of this queue are assigned at a time. Empty: as many as workers take.",
    )
    concurrency_per_key = forms.IntegerField(
        min_value=1,
        max_value=MAX_CONCURRENCY,
        required=False,
        help_text="How many of those with the same concurrency key. Empty: one.",
    )
    note = forms.CharField(
        max_length=NOTE_LENGTH, required=False, widget=forms.Textarea(attrs={"rows": 3, "cols": 80})
    )

    class Meta:
        model = Queue
        fields = (
            "concurrency",
            "concurrency_per_key",
            "timeout_seconds",
            "max_attempts",
            "spill_after_seconds",
            "note",
        )


class PauseForm(ActionForm):
    """The action bar of the list, with room to say why a queue is paused."""

    note = forms.CharField(max_length=NOTE_LENGTH, required=False, label="Note:")


@admin.register(Queue)
class QueueAdmin(OperatorAdmin[Queue]):
    lookups = ("paused",)
    ordering = ("name",)
    sortable_by = ("name",)
    list_display = (
        "name",
        "standing",
        "pending",
        "assigned",
        "oldest_pending",
        "workers",
        "note_start",
    )
    list_filter = (ByPause,)
    search_help_text = "A part of a task name."
    actions = ("pause", "resume")
    action_form = PauseForm
    form = QueueForm
    readonly_fields = ("name", "standing", "pending", "assigned", "oldest_pending", "workers")
    fieldsets = (
        (None, {"fields": ("name", "standing", "note")}),
        ("Now", {"fields": (("pending", "assigned", "oldest_pending", "workers"),)}),
        ("At a time", {"fields": ("concurrency", "concurrency_per_key")}),
        (
            "For tasks that do not say themselves",
            {"fields": ("timeout_seconds", "max_attempts", "spill_after_seconds")},
        ),
    )

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Queue, form: Any, change: bool) -> None:
        # Only what the form changed: who paused the queue meanwhile must not be undone by an older page.
        queues.configure(obj.name, {field: form.cleaned_data[field] for field in form.changed_data})

    def prepare(self, rows: Sequence[Queue]) -> None:
        figures = figures_of([queue.name for queue in rows], database.now())
        for queue in rows:
            vars(queue)["figures"] = figures[queue.name]

    def search(self, queryset: QuerySet[Queue], word: str) -> QuerySet[Queue]:
        usable = len(word) <= NAME_LENGTH and is_storable(word)
        return queryset.filter(name__icontains=word) if usable else queryset.none()

    @admin.display(description="state")
    def standing(self, queue: Queue) -> str:
        if not queue.paused:
            return "running"
        by = f" by {queue.paused_by}" if queue.paused_by else ""
        since = f" since {date_format(queue.paused_at, 'DATETIME_FORMAT')}" if queue.paused_at else ""
        return f"paused{by}{since}"

    @admin.display(description="pending")
    def pending(self, queue: Queue) -> SafeString:
        address = list_of(Task, name=queue.name, state=TaskState.PENDING)
        return format_html('<a href="{}">{}</a>', address, _figures(queue).pending)

    @admin.display(description="assigned")
    def assigned(self, queue: Queue) -> SafeString:
        address = list_of(Task, name=queue.name, state=TaskState.ASSIGNED)
        limit = "" if queue.concurrency is None else f" of {queue.concurrency}"
        return format_html('<a href="{}">{}{}</a>', address, _figures(queue).assigned, limit)

    @admin.display(description="oldest pending")
    def oldest_pending(self, queue: Queue) -> str:
        figures = _figures(queue)
        return age(figures.now - figures.oldest) if figures.oldest else NOTHING

    @admin.display(description="workers")
    def workers(self, queue: Queue) -> SafeString:
        address = list_of(WorkerSession, offers=queue.name)
        return format_html('<a href="{}">{}</a>', address, _figures(queue).workers)

    @admin.display(description="note")
    def note_start(self, queue: Queue) -> str:
        return excerpt(queue.note)

    @admin.action(description="Pause selected queues", permissions=["steer"])
    def pause(self, request: HttpRequest, selected: QueueQuerySet) -> None:
        by, note = request.user.get_username(), request.POST.get("note", "")[:NOTE_LENGTH]
        running = selected.filter(paused=False)
        self.steer(request, running, lambda names: queues.pause(names, by, note, database.now()), "paused")

    @admin.action(description="Resume selected queues", permissions=["steer"])
    def resume(self, request: HttpRequest, selected: QueueQuerySet) -> None:
        self.steer(request, selected.paused(), queues.resume, "resumed")


def figures_of(names: Sequence[str], now: datetime) -> dict[str, Figures]:
    """The figures of each of the queues, in two queries for all of them. Only live tasks are counted."""
    figures = {name: Figures(now) for name in names}
    ready = Q(state=str(TaskState.PENDING), delayed_until__isnull=True)
    tasks = Task.objects.live().filter(name__in=names).order_by().values("name", "state")
    grouped = tasks.annotate(count=Count("id"), oldest=Min("available_at", filter=ready))
    for name, state, count, oldest in grouped.values_list("name", "state", "count", "oldest"):
        if state == TaskState.PENDING:
            figures[name].pending, figures[name].oldest = count, oldest
        else:
            figures[name].assigned = count
    offers = Subscription.objects.of_attached_sessions().filter(name__in=names).order_by().values_list("name")
    for name, workers in offers.annotate(Count("session", distinct=True)):
        figures[name].workers = workers
    return figures


def _figures(queue: Queue) -> Figures:
    return vars(queue)["figures"]
