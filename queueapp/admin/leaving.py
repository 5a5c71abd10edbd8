"""What an operator is told before workers are drained or disconnected, and asked to confirm."""

from __future__ import annotations

from typing import Any

from django.contrib.admin import ModelAdmin
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from queueapp import addresses, impact
from queueapp.admin.display import list_of, page_of
from queueapp.admin.readonly import STEERED_ROWS
from queueapp.domain.names import route_in_words
from queueapp.querysets import WorkerSessionQuerySet

CONFIRMED = "confirmed"
WORKERS_SHOWN = 20
ROUTES_SHOWN = 10
HANDED_ON = ("action", "index", "select_across", "_from_page")


def asked_first(
    admin: ModelAdmin[Any], request: HttpRequest, eligible: WorkerSessionQuerySet, *, is_disconnect: bool
) -> HttpResponse | None:
    """The page that says what would happen to all that waits, of these workers all together. None: it was
    answered, or there is nothing to ask."""
    if CONFIRMED in request.POST:
        return None
    found = impact.of(eligible.values_list("pk", flat=True)[:STEERED_ROWS])
    if not found.workers:
        return None
    number = len(found.workers)
    verb = "Disconnect" if is_disconnect else "Drain"
    keys = request.POST.getlist(ACTION_CHECKBOX_NAME)
    from_page = "_from_page" in request.POST and len(keys) == 1
    context = {
        **admin.admin_site.each_context(request),
        "title": f"{verb} {number} worker{'' if number == 1 else 's'}?",
        "opts": admin.opts,
        "verb": verb,
        "impact": found,
        "lines": impact.consequences(found, is_disconnect),
        "workers": found.workers[:WORKERS_SHOWN],
        "workers_left_out": max(0, number - WORKERS_SHOWN),
        "stranded": [
            (loss, route_in_words(*loss.demand[:2]), addresses.tasks_of(*loss.demand[:2]))
            for loss in found.waiting.stranded
        ][:ROUTES_SHOWN],
        "stranded_left_out": max(0, len(found.waiting.stranded) - ROUTES_SHOWN),
        "keys_name": ACTION_CHECKBOX_NAME,
        "keys": keys,
        "handed_on": [(name, request.POST[name]) for name in HANDED_ON if name in request.POST],
        "confirmed": CONFIRMED,
        "back": page_of(admin.model, keys[0]) if from_page else list_of(admin.model),
    }
    return TemplateResponse(request, "admin/pages/impact.html", context)
