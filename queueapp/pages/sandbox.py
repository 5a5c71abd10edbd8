"""The routing sandbox: type a task, see who would get it. By GET, so that an address can be handed on."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib.admin import AdminSite
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, reverse

from queueapp import addresses, database
from queueapp.conf import config
from queueapp.domain.errors import InvalidSubmission
from queueapp.domain.explanation import Explanation
from queueapp.domain.spelling import Suggestion
from queueapp.domain.submission import Limits, parse_submission
from queueapp.domain.supply import Demand
from queueapp.explaining import explain_route
from queueapp.models import Task
from queueapp.pages.page import framed, page
from queueapp.subjects import OVERVIEW

WORKERS_SHOWN = 100
TEXT_LENGTH = 40_000
"""Of the attributes. The largest that a task may have take more, but an address does not."""


def urls(site: AdminSite) -> list[URLPattern]:
    def show(request: HttpRequest) -> HttpResponse:
        if wanted := request.GET.get("task"):
            return HttpResponseRedirect(addresses.sandbox_of(_route_of(wanted)))
        name, text = request.GET.get("name", "").strip(), request.GET.get("attrs", "")
        context: dict[str, Any] = {"name": name, "attrs": text}
        if name or text.strip():
            context |= _answer(name, text)
        return framed(site, request, "admin/pages/sandbox.html", title="Routing sandbox", **context)

    return [page(site, "sandbox/", show, name="sandbox", permissions=OVERVIEW)]


def _route_of(task_id: str) -> Demand:
    try:
        task = Task.objects.select_related("route").only("name", "route__attrs").filter(pk=UUID(task_id)).first()
    except ValueError:
        task = None
    if task is None:
        raise Http404("There is no such task.")
    return Demand(task.name, task.route.attrs)


def _answer(name: str, text: str) -> dict[str, Any]:
    """Read as a submission is; what cannot be submitted is told as there."""
    lines = [line.removesuffix("\r") for line in text[:TEXT_LENGTH].split("\n") if line.strip()]
    if odd := [line for line in lines if "=" not in line]:
        return {"problems": [f"“{line}” is no attribute: write name=value, one a line." for line in odd]}
    attrs = dict(line.split("=", 1) for line in lines)
    try:
        submission = parse_submission(
            {"name": name, "attrs": attrs}, database.now(), Limits(attrs=config().attrs_limit)
        )
    except InvalidSubmission as error:
        return {"problems": [str(each) for each in error.errors]}
    return _shown(explain_route(submission.name, submission.attrs, None, database.now()))


def _shown(explanation: Explanation) -> dict[str, Any]:
    facts = explanation.facts
    return {
        "explanation": explanation,
        "suggestions": [(each, _as_meant(each, explanation)) for each in explanation.suggestions],
        "verdicts": explanation.verdicts[:WORKERS_SHOWN],
        "verdicts_left_out": max(0, len(explanation.verdicts) - WORKERS_SHOWN),
        "tasks": addresses.tasks_of(facts.name, facts.attrs),
        "workers": addresses.workers_of(facts.name),
        "coverage": addresses.with_query(reverse("admin:coverage"), name=facts.name),
    }


def _as_meant(suggestion: Suggestion, explanation: Explanation) -> str | None:
    """The sandbox with what was meant in the place of what was typed. A worker's filter is not typed here."""
    name, attrs = explanation.facts.name, dict(explanation.facts.attrs)
    match suggestion.of:
        case "name":
            return addresses.sandbox_of(Demand(suggestion.meant, attrs))
        case "attribute":
            attrs[suggestion.meant] = attrs.pop(suggestion.given)
            return addresses.sandbox_of(Demand(name, attrs))
        case _:
            return None
