"""What is pushed over the operators' WebSocket, for pages that it does not reach: these ask."""

from __future__ import annotations

from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.views.decorators.http import require_safe

from queueapp import live, subjects


def urls(site: AdminSite) -> list[URLPattern]:
    def now(request: HttpRequest) -> HttpResponse:
        try:
            subject = subjects.read(request.META["QUERY_STRING"])
        except subjects.UnknownSubject as error:
            raise Http404 from error
        if not subjects.may_watch(request.user, subject):
            raise PermissionDenied
        return json_answer(live.read(subject))

    return [path("now", site.admin_view(require_safe(now)), name="now")]


def json_answer(text: str) -> HttpResponse:
    return HttpResponse(text, content_type="application/json", headers={"Cache-Control": "no-store"})
