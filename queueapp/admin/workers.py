"""Workers: their sessions and subscriptions; drained and disconnected."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.formats import localize
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from queueapp import database, sessions
from queueapp.admin import leaving
from queueapp.admin.display import NOTHING, age, excerpt, link, list_of, live, short, value_block
from queueapp.admin.links import now_of
from queueapp.admin.lists import OfQueue, OneOf, unfiltered, where
from queueapp.admin.readonly import ReadOnlyAdmin, ReadOnlyInline
from queueapp.conf import config
from queueapp.domain import filter_text
from queueapp.domain.ids import as_id
from queueapp.domain.minutes import of_last_minute
from queueapp.domain.names import is_storable
from queueapp.domain.states import SessionState
from queueapp.models import NAME_LENGTH, Attempt, Subscription, Task, WorkerSession
from queueapp.protocol import SUBPROTOCOL
from queueapp.querysets import SubscriptionQuerySet, WorkerSessionQuerySet

HELD_SHOWN = 100
ATTEMPTS_COUNTED = 1000


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
    watched = "workers"
    lookups = ("state", "offers", "node__id__exact", "api_key__id__exact")
    ordering = ("-id",)
    list_display = (
        "label",
        "state_now",
        "load",
        "done_now",
        "errors_now",
        "per_minute",
        "offers",
        "node_link",
        "version",
        "connected_at",
        "gone_at",
    )
    list_filter = (ByConnection, Offering)
    search_help_text = "A worker's id, or a part of its name, version or address."
    actions = ("drain", "disconnect", "resume")
    fieldsets = (
        (None, {"fields": ("id", "name", "standing", ("outstanding", "max_outstanding"), "held")}),
        (
            "Has done",
            {"fields": (("done_now", "errors_now", "stale_now"), "per_minute", "ended_attempts", "tasks")},
        ),
        ("Heartbeat", {"fields": ("node_link", "heartbeat")}),
        ("Connection", {"fields": (("connected_at", "idle_since", "gone_at"), ("close_code", "close_reason"))}),
        ("Origin", {"fields": (("version", "remote", "protocol"), "api_key")}),
    )
    inlines = (SubscriptionsOfWorker,)

    def get_queryset(self, request: HttpRequest) -> QuerySet[WorkerSession]:
        return super().get_queryset(request).select_related("node", "api_key")

    def for_list(self, queryset: QuerySet[WorkerSession]) -> QuerySet[WorkerSession]:
        return queryset.prefetch_related("subscriptions")

    def prepare(self, rows: Sequence[WorkerSession]) -> None:
        # Counted for the rows of the page: an annotation would be grouped over all the sessions there ever were.
        outstanding = Task.objects.held_by(row.pk for row in rows).outstanding_by_session()
        now = database.now()
        for row in rows:
            vars(row).update(outstanding=outstanding.get(row.pk, 0), now=now)

    def page_context(
        self, request: HttpRequest, session: WorkerSession, context: Mapping[str, Any]
    ) -> dict[str, Any]:
        if session.gone_at is not None:
            return {"buttons": []}
        return {"now_address": now_of(f"worker/{session.pk}")}

    def search(self, queryset: QuerySet[WorkerSession], word: str) -> QuerySet[WorkerSession]:
        if session_id := as_id(word):
            return queryset.filter(pk=session_id)
        if len(word) > NAME_LENGTH or not is_storable(word):
            return queryset.none()
        return queryset.filter(Q(name__icontains=word) | Q(version__icontains=word) | Q(remote__startswith=word))

    @admin.display(description="worker")
    def label(self, session: WorkerSession) -> SafeString:
        return format_html('<span data-row="{}">{}</span>', session.pk, excerpt(session.name) or short(session.pk))

    @admin.display(description="state")
    def state_now(self, session: WorkerSession) -> SafeString:
        return live("state", session.state)

    @admin.display(description="outstanding")
    def outstanding(self, session: WorkerSession) -> SafeString:
        return live("outstanding", vars(session)["outstanding"])

    @admin.display(description="done")
    def done_now(self, session: WorkerSession) -> SafeString:
        return live("done", session.done)

    @admin.display(description="errors")
    def errors_now(self, session: WorkerSession) -> SafeString:
        return live("errors", session.errors)

    @admin.display(description="stale results")
    def stale_now(self, session: WorkerSession) -> SafeString:
        return live("stale_results", session.stale_results)

    @admin.display(description="subscriptions")
    def offers(self, session: WorkerSession) -> str:
        return excerpt(" ".join(str(subscription) for subscription in session.subscriptions.all()))

    @admin.display(description="node")
    def node_link(self, session: WorkerSession) -> SafeString:
        return link(type(session.node), session.node_id, str(session.node))

    @admin.display(description="holds now")
    def held(self, session: WorkerSession) -> SafeString:
        tasks = Task.objects.held_by([session.pk]).order_by("assigned_at", "id")
        rows = tasks.values_list("pk", "name", "attempt", "assigned_at", "deadline", "progress")[:HELD_SHOWN]
        lines = [
            (link(Task, pk, short(pk)), name, attempt, localize(since), localize(deadline), _percent(progress))
            for pk, name, attempt, since, deadline, progress in rows
        ]
        return format_html('<div id="held" data-live>{}</div>', _held_table(lines) if lines else NOTHING)

    @admin.display(description="state")
    def standing(self, session: WorkerSession) -> SafeString:
        return format_html('<span id="standing" data-live>{}</span>', self._standing(session))

    def _standing(self, session: WorkerSession) -> str:
        if session.state != SessionState.DRAINING:
            return session.state
        if session.leaving:
            return "draining: it leaves by its own word, or its server process ends"
        if session.v1 is False:
            return "draining, of which it does not know: it can be resumed"
        return "draining: it was told to finish and leave, and no message takes that back"

    @admin.display(description="load")
    def load(self, session: WorkerSession) -> SafeString:
        return format_html("{} of {}", self.outstanding(session), session.max_outstanding)

    @admin.display(description="a minute")
    def per_minute(self, session: WorkerSession) -> SafeString:
        """Results in the last minute that is over."""
        counted = session.counted_minute, session.ended_in_minute, session.ended_in_previous
        return live("per_minute", of_last_minute(*counted, vars(session)["now"]))

    @admin.display(description="protocol")
    def protocol(self, session: WorkerSession) -> str:
        return {True: SUBPROTOCOL, False: "plain: it hears of nothing but tasks", None: NOTHING}[session.v1]

    @admin.display(description="last")
    def heartbeat(self, session: WorkerSession) -> str:
        """Of its process, which the rows know. The process asks the worker itself."""
        if session.gone_at is not None:
            return NOTHING
        node, given = session.node, config()
        if node.stopped_at is not None:
            return "its process has stopped"
        ago = age(vars(session)["now"] - node.lease_until + timedelta(seconds=given.lease_seconds))
        limit = f"{given.ping_interval_seconds + given.ping_timeout_seconds:g} s"
        return format_html(
            "its process {} ago, which lets go of a worker that answers no ping for {}",
            live("heartbeat", ago, "age"),
            limit,
        )

    @admin.display(description="attempts that ended here, but plain first dones")
    def ended_attempts(self, session: WorkerSession) -> SafeString:
        counted = outcomes_of(session.pk)
        said = ", ".join(f"{number} {outcome}" for outcome, number in sorted(counted.items())) or "none"
        more = f", of the {ATTEMPTS_COUNTED} that were looked at" if counted.total() == ATTEMPTS_COUNTED else ""
        return format_html(
            '{}{}: <a href="{}">list</a>', said, more, list_of(Attempt, worker__id__exact=session.pk)
        )

    @admin.display(description="its tasks")
    def tasks(self, session: WorkerSession) -> SafeString:
        address = list_of(Task, q=filter_text.write({"worker": str(session.pk)}))
        return format_html('<a href="{}">those that it holds and has ended</a>', address)

    @admin.action(description="Drain selected workers: no more tasks for them", permissions=["steer"])
    def drain(self, request: HttpRequest, workers: WorkerSessionQuerySet) -> HttpResponse | None:
        eligible = workers.online()
        if (question := leaving.asked_first(self, request, eligible, is_disconnect=False)) is not None:
            return question
        self.steer(request, eligible, sessions.drain, "told to drain", action="drain")
        return None

    @admin.action(description="Disconnect selected workers: their tasks go to others", permissions=["steer"])
    def disconnect(self, request: HttpRequest, workers: WorkerSessionQuerySet) -> HttpResponse | None:
        eligible = workers.attached()
        if (question := leaving.asked_first(self, request, eligible, is_disconnect=True)) is not None:
            return question
        self.steer(
            request,
            eligible,
            lambda ids: sessions.disconnect(ids, database.now()),
            "disconnected",
            action="disconnect",
        )
        return None

    @admin.action(
        description="Resume selected workers: those that do not know of their drain", permissions=["steer"]
    )
    def resume(self, request: HttpRequest, workers: WorkerSessionQuerySet) -> None:
        self.steer(request, workers.resumable(), sessions.resume, "resumed", action="resume")


def outcomes_of(session_id: UUID) -> Counter[str]:
    """Of the attempts that have a row: a plain first `done` has none. At most so many are counted."""
    ended = Attempt.objects.filter(worker=session_id).values("outcome")[:ATTEMPTS_COUNTED]
    return Counter(row["outcome"] for row in ended)


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
