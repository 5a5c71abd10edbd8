"""Queues: whether work flows in them, paused with a note and resumed; their defaults and limits."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.http import require_safe

from queueapp import addresses, audit, database, queue_rollups, queues, standing
from queueapp.admin.display import NOTHING, age, attributes, list_of, live, page_of
from queueapp.admin.links import now_of
from queueapp.admin.lists import OneOf, unfiltered, where
from queueapp.admin.queue_forms import NOTE_LENGTH, PauseBar, PauseForm, QueueForm
from queueapp.admin.readonly import OperatorAdmin
from queueapp.domain import filter_text
from queueapp.domain.names import is_storable
from queueapp.domain.states import TaskState
from queueapp.models import NAME_LENGTH, Queue, Task, WorkerSession
from queueapp.overview import pause_text
from queueapp.querysets import QueueQuerySet
from queueapp.standing import Standing, Waiting


class ByPause(OneOf):
    title = "state"
    parameter_name = "paused"
    options = {
        "all": unfiltered,
        "paused": QueueQuerySet.paused,
        "running": where(paused=False),
    }


@admin.register(Queue)
class QueueAdmin(OperatorAdmin[Queue]):
    noun = "queue"
    watched = "queues"
    lookups = ("paused",)
    ordering = ("name",)
    sortable_by = ("name",)
    list_display = ("name", "health", "waiting", "oldest_wait", "assigned", "workers", "pause_shown")
    list_filter = (ByPause,)
    search_help_text = "A part of a task name."
    actions = ("pause", "resume")
    action_form = PauseBar
    form = QueueForm
    readonly_fields = (*list_display, "held_back")
    fieldsets = (
        (None, {"fields": ("name", "health", "pause_shown", "note")}),
        ("Now", {"fields": (("waiting", "oldest_wait", "held_back"), ("assigned", "workers"))}),
        ("At a time", {"fields": ("concurrency", "concurrency_per_key")}),
        (
            "For tasks that do not say themselves",
            {"fields": ("timeout_seconds", "max_attempts", "spill_after_seconds")},
        ),
    )

    class Media:
        css = {"all": ["uplot/uplot.min.css", "queueapp/overview.css", "queueapp/queue.css"]}

    # ---- permissions and forms

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except queues.ChangedMeanwhile as refusal:
            self.message_user(request, f"Nothing was saved: {refusal}", messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())

    def save_model(self, request: HttpRequest, obj: Queue, form: Any, change: bool) -> None:
        changes = form.changes()
        before = {field: form.initial[field] for field in changes}
        audit.carried_out(
            audit.actor_of(request),
            "configure",
            lambda: queues.configure(obj.name, changes, before),
            kind=self.noun,
            detail=audit.changes_text(changes),
        )

    # ---- what is read for the pages

    def prepare(self, rows: Sequence[Queue]) -> None:
        now = database.now()
        found = standing.standings(rows, now)
        for queue in rows:
            vars(queue).update(read_at=now, standing=found[queue.name])

    def prepare_page(self, row: Queue) -> None:
        now = database.now()
        own, routes = standing.standing(row, now)
        vars(row).update(read_at=now, standing=own, routes=routes)

    def search(self, queryset: QuerySet[Queue], word: str) -> QuerySet[Queue]:
        usable = len(word) <= NAME_LENGTH and is_storable(word)
        return queryset.filter(name__icontains=word) if usable else queryset.none()

    # ---- pages of its own

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        return [
            path("<path:object_id>/pause/", wrap(self.pause_view), name="queueapp_queue_pause"),
            path("<path:object_id>/past/", wrap(require_safe(self.past_view)), name="queueapp_queue_past"),
            *super().get_urls(),
        ]

    def page_context(self, request: HttpRequest, queue: Queue, context: Mapping[str, Any]) -> dict[str, Any]:
        routes = standing.why_it_waits(vars(queue)["routes"], vars(queue)["read_at"])
        steers = self.has_steer_permission(request)
        return {
            "now_address": now_of(f"queue/{queue.name}"),
            "buttons": [("resume", "Resume")] if steers and queue.paused else [],
            "pause": pause_text(queue),
            "may_pause": steers and not queue.paused,
            "routes": [_row_of(each, vars(queue)["read_at"]) for each in routes],
            "routes_left_out": max(0, len(vars(queue)["routes"].routes) - len(routes)),
            "mishaps": standing.mishaps(queue.name, vars(queue)["read_at"]),
        }

    def past_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """The curves of the page, as JSON."""
        name = unquote(object_id)
        if not self.has_view_permission(request):
            raise PermissionDenied
        if not is_storable(name) or not Queue.objects.filter(pk=name).exists():
            raise Http404
        text = json.dumps(queue_rollups.past(name, database.now()))
        return HttpResponse(text, content_type="application/json", headers={"Cache-Control": "no-store"})

    def pause_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Asks why, says what will happen, and pauses."""
        if not self.has_steer_permission(request):
            raise PermissionDenied
        queue = self.get_object(request, unquote(object_id))
        if queue is None:
            raise Http404
        form = PauseForm(request.POST if request.method == "POST" else None)
        if form.is_valid():
            self._pause(request, Queue.objects.filter(pk=queue.pk), form.cleaned_data["note"])
            return HttpResponseRedirect(page_of(Queue, queue.pk))
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": queue,
            "title": f"Pause {queue.name}",
            "form": form,
            "standing": _standing(queue),
            "back": page_of(Queue, queue.pk),
            "media": self.media,
        }
        return TemplateResponse(request, "admin/queueapp/queue/pause.html", context)

    # ---- columns and fields

    @admin.display(description="health")
    def health(self, queue: Queue) -> SafeString:
        health = _standing(queue).health
        shown = '<span class="health {}" data-row="{}" data-value="health" data-as="health">{}</span>'
        return format_html(shown, health.replace(" ", "-"), queue.name, health)

    @admin.display(description="paused")
    def pause_shown(self, queue: Queue) -> SafeString:
        return live("pause", standing.pause_line(queue) or NOTHING)

    @admin.display(description="waiting")
    def waiting(self, queue: Queue) -> SafeString:
        address = addresses.ready_of(queue.name)
        more = "" if _standing(queue).is_exact else "+"
        return format_html('<a href="{}">{}</a>', address, live("waiting", f"{_standing(queue).waiting}{more}"))

    @admin.display(description="oldest wait")
    def oldest_wait(self, queue: Queue) -> SafeString:
        since = _standing(queue).oldest_since
        return live("oldest_wait", age(vars(queue)["read_at"] - since) if since else NOTHING, "age")

    @admin.display(description="behind others of their key")
    def held_back(self, queue: Queue) -> SafeString:
        count = standing.held_back(queue.name)
        more = "+" if count == standing.HELD_BACK_COUNTED else ""
        return format_html('<span id="held-back" data-live>{}{}</span>', count, more)

    @admin.display(description="assigned")
    def assigned(self, queue: Queue) -> SafeString:
        address = list_of(Task, name=queue.name, state=TaskState.ASSIGNED)
        limit = "" if queue.concurrency is None else f" of {queue.concurrency}"
        return format_html('<a href="{}">{}{}</a>', address, live("assigned", _standing(queue).assigned), limit)

    @admin.display(description="workers")
    def workers(self, queue: Queue) -> SafeString:
        address = list_of(WorkerSession, offers=queue.name)
        return format_html('<a href="{}">{}</a>', address, live("workers", _standing(queue).workers))

    # ---- actions

    @admin.action(description="Pause selected queues", permissions=["steer"])
    def pause(self, request: HttpRequest, selected: QueueQuerySet) -> None:
        self._pause(request, selected, request.POST.get("note", "")[:NOTE_LENGTH])

    @admin.action(description="Resume selected queues", permissions=["steer"])
    def resume(self, request: HttpRequest, selected: QueueQuerySet) -> None:
        self.steer(request, selected.paused(), queues.resume, "resumed", action="resume")

    def _pause(self, request: HttpRequest, selected: QuerySet[Queue], note: str) -> None:
        by = request.user.get_username()
        running = selected.filter(paused=False)
        self.steer(
            request,
            running,
            lambda names: queues.pause(names, by, note, database.now()),
            "paused",
            action="pause",
            detail=note,
        )


def _standing(queue: Queue) -> Standing:
    return vars(queue)["standing"]


def _row_of(waiting: Waiting, now: datetime) -> dict[str, Any]:
    """A line of the table of routes, with links to the task whose turn is next and to all of them."""
    route = waiting.route
    alike = {"name": route.name, "state": str(TaskState.PENDING)}
    alike |= {f"attr.{criterion}": value for criterion, value in route.attrs.items()}
    return {
        "attrs": attributes(route.attrs),
        "waiting": route.waiting,
        "age": age(now - route.since),
        "why": waiting.why,
        "first": page_of(Task, route.first),
        "all": list_of(Task, q=filter_text.write(alike)),
    }
