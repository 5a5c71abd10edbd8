"""The operators' site: Django's admin with an overview in front, for those who may see what it shows."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, URLResolver, path, reverse
from django.views.decorators.http import require_http_methods, require_safe

from queueapp import addresses, audit, live
from queueapp.overview import FAILURES_WINDOW, RANGES
from queueapp.pages import coverage, now, sandbox, saved_views
from queueapp.subjects import ERRORS, OVERVIEW, Subject, may_watch

NAVIGATION = (
    ("Overview", "index", ()),
    ("Tasks", "queueapp_task_changelist", ("queueapp.view_task",)),
    ("Errors", "errors", ERRORS),
    ("Workers", "queueapp_workersession_changelist", ("queueapp.view_workersession",)),
    ("Coverage", "coverage", OVERVIEW),
    ("Sandbox", "sandbox", OVERVIEW),
    ("Queues", "queueapp_queue_changelist", ("queueapp.view_queue",)),
    ("Keys", "queueapp_apikey_changelist", ("queueapp.view_apikey",)),
    ("Callbacks", "queueapp_delivery_changelist", ("queueapp.view_delivery",)),
    ("Operations", "queueapp_operation_changelist", ("queueapp.view_operation",)),
    ("Bulk", "bulk", ("queueapp.change_task", "queueapp.add_operation")),
    ("Audit log", "queueapp_auditentry_changelist", ("queueapp.view_auditentry",)),
)
"""What stands at the top of every page, in this order: the word, the page's name, the permissions it takes."""


class OperatorSite(admin.AdminSite):
    site_header = "Work queue"
    site_title = "Work queue"
    index_title = "Overview"
    index_template = "admin/overview.html"
    final_catch_all_view = True

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        """Who may not view the overview finds the plain list of what it may view."""
        context: dict[str, Any] = {"may_view": may_watch(request.user, Subject()), "ranges": list(RANGES)}
        context["failed_lately"] = addresses.failed_since(FAILURES_WINDOW)
        if not context["may_view"]:
            context["title"] = "Operations"
        return super().index(request, context | (extra_context or {}))

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        entries = [(word, reverse(f"{self.name}:{name}")) for word, name, _ in _open_to(request.user)]
        return super().each_context(request) | {"navigation": entries}

    def admin_view(self, view: Any, cacheable: bool = False) -> Any:
        """A page is read or a form is sent to it. Django's take any other method for reading."""
        return require_http_methods(["GET", "HEAD", "POST"])(super().admin_view(view, cacheable))

    def password_change(  # type: ignore[override]  # the stubs do not know that it redirects
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """One's own, which is in the audit log as any other."""
        with transaction.atomic():
            response = super().password_change(request, extra_context)
            if isinstance(response, HttpResponseRedirect):  # else it was refused, or only asked for
                name = request.user.get_username()
                audit.record(audit.actor_of(request), "change", kind="user", subject=name, detail="Own password.")
            return response

    def get_urls(self) -> list[URLResolver | URLPattern]:
        # Here, since they show rows as the admin does, whose modules register with this site.
        from queueapp.pages import bulk, errors

        mine: list[URLResolver | URLPattern] = [
            *saved_views.urls(self),
            *now.urls(self),
            path(
                "overview/past/<str:range_name>", self.admin_view(require_safe(self._past)), name="overview-past"
            ),
            *bulk.urls(self),
            *errors.urls(self),
            *coverage.urls(self),
            *sandbox.urls(self),
        ]
        return mine + super().get_urls()

    def _past(self, request: HttpRequest, range_name: str) -> HttpResponse:
        if range_name not in RANGES:
            raise Http404
        if not may_watch(request.user, Subject()):
            raise PermissionDenied
        return now.json_answer(live.past(range_name))


def _open_to(user: Any) -> list[tuple[str, str, tuple[str, ...]]]:
    return [entry for entry in NAVIGATION if user.has_perms(entry[2])]
