"""Workers: their sessions and subscriptions; drained and disconnected."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import HttpRequest
from django.utils.formats import localize
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from queueapp import database, sessions
from queueapp.admin.display import NOTHING, excerpt, link, list_of, short, value_block
from queueapp.admin.lists import OfQueue, OneOf, as_id, unfiltered, where
from queueapp.admin.readonly import ReadOnlyAdmin, ReadOnlyInline
from queueapp.domain.names import is_storable
from queueapp.domain.states import SessionState
from queueapp.models import NAME_LENGTH, Attempt, Subscription, Task, WorkerSession
from queueapp.querysets import SubscriptionQuerySet, WorkerSessionQuerySet

HELD_SHOWN = 100


class ByConnection(OneOf):
    title = "connection"
    parameter_name = "state"
    options = {
        "attached": WorkerSessionQuerySet.attached,
        "online": WorkerSessionQuerySet.online,
        "draining": where(state=str(SessionState.DRAINING)),
        "gone": where(state=str(SessionState.GONE)),
        "all": unfiltered,
    }


class Offering(OfQueue):
    title = "offered task"
    parameter_name = "offers"

    def of_name(self, queryset: QuerySet[WorkerSession], name: str) -> QuerySet[WorkerSession]:
        return queryset.filter(Exists(Subscription.objects.filter(session=OuterRef("pk"), name=name)))


class SubscriptionsOfWorker(ReadOnlyInline[Subscription]):
    model = Subscription
    fields = ("name", "criteria", "extra_text")
    readonly_fields = fields
    ordering = ("name", "id")

    @admin.display(description="filter")
    def criteria(self, subscription: Subscription) -> str:
        return criteria_of(subscription)

    @admin.display(description="extra")
    def extra_text(self, subscription: Subscription) -> str:
        return value_block(subscription.extra)


@admin.register(WorkerSession)
class WorkerSessionAdmin(ReadOnlyAdmin[WorkerSession]):
    noun = "worker"
    lookups = ("state", "offers", "node__id__exact", "api_key__id__exact")
    ordering = ("-id",)
    list_display = (
        "label",
        "state",
        "outstanding",
        "max_outstanding",
        "offers",
        "node_link",
        "version",
        "connected_at",
        "gone_at",
        "stale_results",
    )
    list_filter = (ByConnection, Offering)
    search_help_text = "A worker's id, or a part of its name, version or address."
    actions = ("drain", "disconnect")
    fieldsets = (
        (None, {"fields": ("id", "name", "state", ("outstanding", "max_outstanding", "stale_results"), "held")}),
        ("Connection", {"fields": (("connected_at", "idle_since", "gone_at"), ("close_code", "close_reason"))}),
        ("Origin", {"fields": (("version", "remote"), "node_link", "api_key", "ended_attempts")}),
    )
    inlines = (SubscriptionsOfWorker,)

    def get_queryset(self, request: HttpRequest) -> QuerySet[WorkerSession]:
        return super().get_queryset(request).select_related("node", "api_key")

    def for_list(self, queryset: QuerySet[WorkerSession]) -> QuerySet[WorkerSession]:
        return queryset.prefetch_related("subscriptions")

    def prepare(self, rows: Sequence[WorkerSession]) -> None:
        # Counted for the rows of the page: an annotation would be grouped over all the sessions there ever were.
        outstanding = Task.objects.held_by(row.pk for row in rows).outstanding_by_session()
        for row in rows:
            vars(row)["outstanding"] = outstanding.get(row.pk, 0)

    def search(self, queryset: QuerySet[WorkerSession], word: str) -> QuerySet[WorkerSession]:
        if session_id := as_id(word):
            return queryset.filter(pk=session_id)
        if len(word) > NAME_LENGTH or not is_storable(word):
            return queryset.none()
        return queryset.filter(Q(name__icontains=word) | Q(version__icontains=word) | Q(remote__startswith=word))

    @admin.display(description="worker")
    def label(self, session: WorkerSession) -> str:
        return excerpt(session.name) or short(session.pk)

    @admin.display(description="outstanding")
    def outstanding(self, session: WorkerSession) -> int:
        return vars(session)["outstanding"]

    @admin.display(description="subscriptions")
    def offers(self, session: WorkerSession) -> str:
        return excerpt(" ".join(str(subscription) for subscription in session.subscriptions.all()))

    @admin.display(description="node")
    def node_link(self, session: WorkerSession) -> SafeString:
        return link(type(session.node), session.node_id, str(session.node))

    @admin.display(description="holds now")
    def held(self, session: WorkerSession) -> str:
        tasks = Task.objects.held_by([session.pk]).order_by("assigned_at", "id")
        rows = tasks.values_list("pk", "name", "attempt", "assigned_at", "deadline", "progress")[:HELD_SHOWN]
        lines = [
            (link(Task, pk, short(pk)), name, attempt, localize(since), localize(deadline), _percent(progress))
            for pk, name, attempt, since, deadline, progress in rows
        ]
        return _held_table(lines) if lines else NOTHING

    @admin.display(description="attempts that ended here")
    def ended_attempts(self, session: WorkerSession) -> SafeString:
        return format_html('<a href="{}">list</a>', list_of(Attempt, worker__id__exact=session.pk))

    @admin.action(description="Drain selected workers: no more tasks for them", permissions=["steer"])
    def drain(self, request: HttpRequest, workers: WorkerSessionQuerySet) -> None:
        self.steer(request, workers.online(), sessions.drain, "told to drain", action="drain")

    @admin.action(description="Disconnect selected workers: their tasks go to others", permissions=["steer"])
    def disconnect(self, request: HttpRequest, workers: WorkerSessionQuerySet) -> None:
        self.steer(
            request,
            workers.attached(),
            lambda ids: sessions.disconnect(ids, database.now()),
            "disconnected",
            action="disconnect",
        )


class OfAttached(OneOf):
    title = "connection"
    parameter_name = "state"
    options = {"attached": SubscriptionQuerySet.of_attached_sessions, "all": unfiltered}


@admin.register(Subscription)
class SubscriptionAdmin(ReadOnlyAdmin[Subscription]):
    lookups = ("state", "name")
    ordering = ("-id",)
    list_display = ("id", "name", "criteria", "worker_link")
    list_filter = (OfAttached, OfQueue)
    search_help_text = "The beginning of a task name, or a worker's id."
    fields = ("name", "criteria", "worker_link", "extra_text")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Subscription]:
        return super().get_queryset(request).select_related("session")

    def search(self, queryset: QuerySet[Subscription], word: str) -> QuerySet[Subscription]:
        if session_id := as_id(word):
            return queryset.filter(session=session_id)
        usable = len(word) <= NAME_LENGTH and is_storable(word)
        return queryset.filter(name__startswith=word) if usable else queryset.none()

    @admin.display(description="filter")
    def criteria(self, subscription: Subscription) -> str:
        return criteria_of(subscription)

    @admin.display(description="worker")
    def worker_link(self, subscription: Subscription) -> SafeString:
        session = subscription.session
        return link(WorkerSession, session.pk, excerpt(session.name) or short(session.pk))

    @admin.display(description="extra")
    def extra_text(self, subscription: Subscription) -> str:
        return value_block(subscription.extra)


def criteria_of(subscription: Subscription) -> str:
    """`cloud=aws,gcp`: any of the values will do."""
    criteria = subscription.filter.items()
    return " ".join(f"{criterion}={','.join(values)}" for criterion, values in criteria) or NOTHING


def _percent(progress: float | None) -> str:
    return NOTHING if progress is None else f"{progress:.0%}"


def _held_table(lines: Sequence[tuple[Any, ...]]) -> SafeString:
    header = format_html_join(
        "", "<th>{}</th>", ((t,) for t in ("task", "name", "attempt", "since", "deadline", "progress"))
    )
    cells = "<tr>" + "<td>{}</td>" * 6 + "</tr>"
    return format_html(
        "<table><thead><tr>{}</tr></thead><tbody>{}</tbody></table>", header, format_html_join("", cells, lines)
    )
