"""What the operators' own pages share: who may open them, who may change by them, and the frame of the admin."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import wraps
from typing import Any

from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.template.response import TemplateResponse
from django.urls import URLPattern, path

View = Callable[..., HttpResponse]

READ = ("GET", "HEAD")
CHANGE = "POST"


def page(
    site: AdminSite,
    route: str,
    view: View,
    *,
    name: str,
    permissions: Collection[str],
    changes: Collection[str] = (),
) -> URLPattern:
    """`admin:<name>` at `/admin/<route>`, for staff with all of the permissions (`queueapp.view_task`).

    `changes`: those that a POST takes beside. A page that names none changes nothing: it answers only who reads.
    """

    @wraps(view)
    def guarded(request: HttpRequest, **arguments: Any) -> HttpResponse:
        if not request.user.has_perms(permissions):
            raise PermissionDenied
        if request.method not in READ:
            if request.method != CHANGE or not changes:
                return HttpResponseNotAllowed([*READ, CHANGE] if changes else READ)
            if not request.user.has_perms(changes):
                raise PermissionDenied
        return view(request, **arguments)

    return path(route, site.admin_view(guarded), name=name)


def framed(
    site: AdminSite, request: HttpRequest, template: str, *, title: str, **context: Any
) -> TemplateResponse:
    """The template, which extends `admin/base_site.html`, with what every page of the site is given."""
    return TemplateResponse(request, template, site.each_context(request) | {"title": title} | context)
