"""Nodes: the server processes and their leases."""

from __future__ import annotations

from collections.abc import Sequence

from django.contrib import admin
from django.db.models import Count, QuerySet
from django.utils.html import format_html
from django.utils.safestring import SafeString

from queueapp import database
from queueapp.admin.display import list_of
from queueapp.admin.lists import OneOf, unfiltered, where
from queueapp.admin.readonly import ReadOnlyAdmin
from queueapp.domain.ids import as_id
from queueapp.domain.names import is_storable
from queueapp.models import NAME_LENGTH, Node, WorkerSession
from queueapp.querysets import NodeQuerySet


class ByLife(OneOf):
    title = "process"
    parameter_name = "state"
    options = {
        "running": NodeQuerySet.running,
        "stopped": where(stopped_at__isnull=False),
        "all": unfiltered,
    }


@admin.register(Node)
class NodeAdmin(ReadOnlyAdmin[Node]):
    lookups = ("state",)
    ordering = ("-id",)
    list_display = ("__str__", "standing", "workers", "started_at", "lease_until", "stopped_at")
    list_filter = (ByLife,)
    search_help_text = "A node's id, or the beginning of a host's name."
    fields = ("id", "host", "pid", "standing", "workers", "started_at", "lease_until", "stopped_at")

    def prepare(self, rows: Sequence[Node]) -> None:
        now = database.now()
        attached = WorkerSession.objects.attached().filter(node__in=rows).order_by().values_list("node")
        workers = dict(attached.annotate(Count("id")))
        for node in rows:
            vars(node).update(now=now, workers=workers.get(node.pk, 0))

    def search(self, queryset: QuerySet[Node], word: str) -> QuerySet[Node]:
        if node_id := as_id(word):
            return queryset.filter(pk=node_id)
        usable = len(word) <= NAME_LENGTH and is_storable(word)
        return queryset.filter(host__startswith=word) if usable else queryset.none()

    @admin.display(description="state")
    def standing(self, node: Node) -> str:
        if node.stopped_at is not None:
            return "stopped"
        return "running" if node.lease_until >= vars(node)["now"] else "its lease is over"

    @admin.display(description="attached workers")
    def workers(self, node: Node) -> SafeString:
        address = list_of(WorkerSession, node__id__exact=node.pk)
        return format_html('<a href="{}">{}</a>', address, vars(node)["workers"])
