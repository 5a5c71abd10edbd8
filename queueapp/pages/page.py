"""What the operators' own pages share: who may open them, and the frame of the admin around them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import wraps
from typing import Any

from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path

View = Callable[..., HttpResponse]


def page(site: AdminSite, route: str, view: View, *, name: str, permissions: Collection[str]) -> URLPattern:
    """`admin:<name>` at `/admin/<route>`, for staff with all of the permissions (`queueapp.view_task`)."""

    @wraps(view)
    def guarded(request: HttpRequest, **arguments: Any) -> HttpResponse:
        if not request.user.has_perms(permissions):
            raise PermissionDenied
        return view(request, **arguments)

    return path(route, site.admin_view(guarded), name=name)


def framed(
    site: AdminSite, request: HttpRequest, template: str, *, title: str, **context: Any
) -> TemplateResponse:
    """The template, which extends `admin/base_site.html`, with what every page of the site is given."""
    return TemplateResponse(request, template, site.each_context(request) | {"title": title} | context)
