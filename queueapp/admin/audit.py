"""The audit log, newest first: what operators did, by whom and to what."""

from __future__ import annotations

from functools import reduce
from operator import or_

from django.contrib import admin
from django.db.models import Model, Q, QuerySet
from django.utils.html import format_html

from queueapp.admin.display import block, excerpt, link, list_of
from queueapp.admin.readonly import ReadOnlyAdmin
from queueapp.domain.names import is_storable
from queueapp.models import ApiKey, AuditEntry, Operation, Queue, Task, WorkerSession
from queueapp.models.audit import SUBJECT_LENGTH

ROWS: dict[str, type[Model]] = {
    "task": Task,
    "worker": WorkerSession,
    "queue": Queue,
    "operation": Operation,
}
"""The kinds whose subject is the key of a row that has a page."""


SEARCHED = ("who", "action", "subject")


def found_by(word: str) -> Q | None:
    """Entries with the word as one of the values that have an index; None if it is nowhere.

    Where it is is asked first: nearly always in one place, whose index then has the newest first. Of a condition
    on any of three the planner would rather read the whole log from its end.
    """
    places = [Q(**{place: word}) for place in SEARCHED if AuditEntry.objects.filter(**{place: word}).exists()]
    return reduce(or_, places) if places else None


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnlyAdmin[AuditEntry]):
    lookups = ("who", "action", "subject")
    ordering = ("-id",)
    list_display = ("at", "by", "did", "kind", "what", "count", "detail_start", "address")
    search_help_text = "Who did it, an action such as pause, or what it was done to: an id, the name of a queue."
    fields = ("at", "by", "user_id", "key_id", "address", "did", "kind", "what", "count", "detail_text")

    def search(self, queryset: QuerySet[AuditEntry], word: str) -> QuerySet[AuditEntry]:
        usable = len(word) <= SUBJECT_LENGTH and is_storable(word)
        condition = found_by(word) if usable else None
        return queryset.none() if condition is None else queryset.filter(condition)

    @admin.display(description="who")
    def by(self, entry: AuditEntry) -> str:
        return format_html('<a href="{}">{}</a>', list_of(AuditEntry, who=entry.who), entry.who)

    @admin.display(description="action")
    def did(self, entry: AuditEntry) -> str:
        return format_html('<a href="{}">{}</a>', list_of(AuditEntry, action=entry.action), entry.action)

    @admin.display(description="what")
    def what(self, entry: AuditEntry) -> str:
        if not entry.subject:
            return ""
        if entry.kind == "key":
            return format_html('<a href="{}">{}</a>', list_of(ApiKey, state="all", q=entry.subject), entry.subject)
        model = ROWS.get(entry.kind)
        return link(model, entry.subject, entry.subject) if model else entry.subject

    @admin.display(description="detail")
    def detail_start(self, entry: AuditEntry) -> str:
        return excerpt(entry.detail)

    @admin.display(description="detail")
    def detail_text(self, entry: AuditEntry) -> str:
        return block(entry.detail)
