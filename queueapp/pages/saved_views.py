"""Saving and deleting views of the task list. There is no page: the list shows them, and is come back to."""

from __future__ import annotations

from urllib.parse import urlencode
from uuid import UUID

from django.contrib import messages
from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, reverse
from django.views.decorators.http import require_POST

from queueapp import saved_views
from queueapp.pages.page import page

VIEW = ("queueapp.view_task",)
SHARE = "queueapp.change_task"
"""Who steers tasks may also say how everybody looks at them."""


def urls(site: AdminSite) -> list[URLPattern]:
    return [
        page(site, "views/save", require_POST(_save), name="task-view-save", permissions=VIEW),
        page(
            site, "views/<uuid:view_id>/delete", require_POST(_delete), name="task-view-delete", permissions=VIEW
        ),
    ]


def _save(request: HttpRequest) -> HttpResponse:
    text, shared = request.POST.get("text", ""), "shared" in request.POST
    if shared and not request.user.has_perm(SHARE):
        raise PermissionDenied
    try:
        view = saved_views.save(request.user.pk, request.POST.get("name", ""), text, shared=shared)
    except saved_views.UnusableView as unusable:
        messages.error(request, str(unusable))
    else:
        text = view.text
        messages.success(request, f"The view “{view.name}” was saved{' for everybody' if shared else ''}.")
    return _list(text)


def _delete(request: HttpRequest, view_id: UUID) -> HttpResponse:
    view = saved_views.delete(request.user.pk, view_id, shared=request.user.has_perm(SHARE))
    if view is None:
        messages.warning(request, "There is no such view that you may delete.")
    else:
        messages.success(request, f"The view “{view.name}” was deleted.")
    return _list(request.POST.get("text", ""))


def _list(text: str) -> HttpResponse:
    return HttpResponseRedirect(f"{reverse('admin:queueapp_task_changelist')}?{urlencode({'q': text})}")
