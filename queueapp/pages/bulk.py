"""One action on every task of a filter: what would change, and the button that begins the operation.

The address has the filter, as JSON in `filter` or a member a parameter (`state=failed&attr.cloud=aws`), and what
is to be done, so that any page can lead here: `?action=retry&name=tag`. Nothing is changed before it is confirmed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib.admin import AdminSite
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.urls import URLPattern

from queueapp import audit, background, bulk, database, operations
from queueapp.admin.display import EXCERPT_LENGTH, attributes, excerpt, page_of, short
from queueapp.admin.links import CHANGING_IN_BULK
from queueapp.domain.errors import FieldError, InvalidFilter, InvalidJson
from queueapp.domain.filter_words import in_words
from queueapp.domain.payloads import json_text, parse_json
from queueapp.domain.states import CHANGEABLE, Action, TaskState
from queueapp.models import Operation, Task
from queueapp.pages.page import framed, page

FIELDS = ("name", "tag", "worker", "created_after", "created_before")
"""The members of a filter that have a field of their own; others come with the address and stay."""
MEMBERS = 50
ACTIONS = {
    Action.CANCEL: "Cancel",
    Action.RETRY: "Retry",
    Action.PRIORITISE: "Change the priority of",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """What somebody wants to be done to which tasks."""

    action: Action
    document: dict[str, Any]
    priority: int | None


def urls(site: AdminSite) -> list[URLPattern]:
    def bulk_page(request: HttpRequest) -> HttpResponse:
        given = request.POST if request.method == "POST" else request.GET
        context: dict[str, Any] = {"document": {}, "action": Action.CANCEL, "priority": given.get("priority", "")}
        try:
            context["document"] = read_filter(given)
            context["action"] = read_action(given, context["document"])
            if context["document"]:
                asked = read(given, context["action"], context["document"])
                if request.method == "POST":
                    return HttpResponseRedirect(page_of(Operation, begin(request, asked).pk))
                context["preview"] = bulk.preview(asked.action, asked.document)
        except InvalidFilter as invalid:
            context["errors"] = [str(error) for error in invalid.errors]
        status = 400 if request.method == "POST" else 200
        return shown(site, request, context, status)

    return [
        page(
            site,
            "bulk/",
            bulk_page,
            name="bulk",
            permissions=("queueapp.view_task", "queueapp.view_operation"),
            changes=CHANGING_IN_BULK,
        )
    ]


def read_filter(given: QueryDict) -> dict[str, Any]:
    """The document that the parameters make. It may still be unusable."""
    if "filter" in given:
        try:
            document = parse_json(str(given["filter"]))
        except InvalidJson as error:
            raise InvalidFilter([FieldError("/filter", str(error))]) from None
        if not isinstance(document, dict):
            raise InvalidFilter([FieldError("/filter", "a filter is a JSON object")])
    else:
        own = ("action", "priority", "csrfmiddlewaretoken")
        document = {name: _value(values) for name, values in given.lists() if name not in own and any(values)}
        if document.get("all") == "true":
            document["all"] = True
    if len(document) > MEMBERS:
        raise InvalidFilter([FieldError("", f"a filter has at most {MEMBERS} members")])
    return document


def _value(values: list[str]) -> str | list[str]:
    chosen = [value for value in values if value]
    return chosen[0] if len(chosen) == 1 else chosen


def read_action(given: QueryDict, document: dict[str, Any]) -> Action:
    """What is to be done, or what can be done to tasks in these states."""
    if text := given.get("action"):
        try:
            return Action(text)
        except ValueError:
            raise InvalidFilter([FieldError("/action", f"must be one of {', '.join(Action)}")]) from None
    wanted = str(document.get("state", ""))
    return next(
        (action for action in Action if any(state in wanted for state in CHANGEABLE[action])), Action.CANCEL
    )


def read(given: QueryDict, action: Action, document: dict[str, Any]) -> Asked:
    priority = bulk.usable_priority(given.get("priority") or "0") if action is Action.PRIORITISE else None
    return Asked(action, document, priority)


def begin(request: HttpRequest, asked: Asked) -> Operation:
    actor, now = audit.actor_of(request), database.now()
    with transaction.atomic():
        operation = operations.start_for_operator(
            actor, asked.action, asked.document, now=now, priority=asked.priority
        )
        transaction.on_commit(background.wake)
    return operation


def shown(site: AdminSite, request: HttpRequest, context: dict[str, Any], status: int) -> HttpResponse:
    document, action, found = context["document"], context["action"], context.get("preview")
    wanted = _texts(document.get("state"))
    response = framed(
        site,
        request,
        "admin/pages/bulk.html",
        title="Bulk",
        words=in_words(document),
        fields=[(name, name.replace("_", " "), ",".join(_texts(document.get(name)))) for name in FIELDS],
        states=[(state, str(state) in ",".join(wanted).split(",")) for state in TaskState],
        others=[
            (name, value)
            for name, values in document.items()
            if name not in (*FIELDS, "state", "all")
            for value in _texts(values)
        ],
        actions=[(each, words, each is action) for each, words in ACTIONS.items()],
        chosen=ACTIONS[action],
        filter_text=json_text(document),
        count=f"{found.count:,}" if found else "",
        looked_at=f"{found.looked_at:,}" if found and found.looked_at is not None else "",
        samples=[_sample(task) for task in found.samples] if found else [],
        may_change=request.user.has_perms(CHANGING_IN_BULK),
        **context,
    )
    response.status_code = status
    return response


def _texts(value: Any) -> list[str]:
    """The values of a member, of which there may be none."""
    return [str(each) for each in (value if isinstance(value, list) else [value]) if each is not None]


def _sample(task: Task) -> dict[str, Any]:
    return {
        "task": task,
        "address": page_of(Task, task.pk),
        "id": short(task.pk),
        "attributes": excerpt(attributes(task.route.attrs)),
        "error": excerpt(task.error[: EXCERPT_LENGTH * 2]),
    }
