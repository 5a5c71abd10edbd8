"""Saving and deleting views of the task list. There is no page: the list shows them, and is come back to."""

from __future__ import annotations

from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.contrib.admin import AdminSite
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, reverse
from django.utils.http import MAX_URL_REDIRECT_LENGTH
from django.views.decorators.http import require_POST

from queueapp import audit, saved_views
from queueapp.pages.page import page

VIEWING = ("queueapp.view_task",)
CHANGING = ("queueapp.change_task",)
"""Who only looks changes nothing through this server, its own views included: an address keeps a filter too."""


def urls(site: AdminSite) -> list[URLPattern]:
    return [
        page(site, route, require_POST(view), name=name, permissions=VIEWING, changes=CHANGING)
        for route, view, name in (
            ("views/save", _save, "task-view-save"),
            ("views/<uuid:view_id>/delete", _delete, "task-view-delete"),
        )
    ]


def _save(request: HttpRequest) -> HttpResponse:
    text, shared = request.POST.get("text", ""), "shared" in request.POST
    try:
        view = saved_views.save(audit.actor_of(request), request.POST.get("name", ""), text, shared=shared)
    except saved_views.UnusableView as unusable:
        messages.error(request, str(unusable))
    else:
        text = view.text
        messages.success(request, f"The view “{view.name}” was saved{' for everybody' if shared else ''}.")
    return _list(text)


def _delete(request: HttpRequest, view_id: UUID) -> HttpResponse:
    view = saved_views.delete(audit.actor_of(request), view_id)
    if view is None:
        messages.warning(request, "There is no such view that you may delete.")
    else:
        messages.success(request, f"The view “{view.name}” was deleted.")
    return _list(request.POST.get("text", ""))


def _list(text: str) -> HttpResponse:
    tasks = reverse("admin:queueapp_task_changelist")
    address = f"{tasks}?{urlencode({'q': text})}"
    # Nobody is led to a longer one.
    return HttpResponseRedirect(address if len(address) <= MAX_URL_REDIRECT_LENGTH else tasks)
