"""API keys: made, with their text shown once; revoked; never changed or deleted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from queueapp import access, audit, auth, database, key_use
from queueapp.admin.display import NOTHING, list_of, page_of
from queueapp.admin.lists import OneOf, unfiltered, where
from queueapp.admin.readonly import OperatorAdmin, RowForm
from queueapp.domain.names import is_storable
from queueapp.domain.reach import bounds_text, parse_bounds
from queueapp.models import NAME_LENGTH, ApiKey, WorkerSession
from queueapp.querysets import ApiKeyQuerySet

CONFIRMED_KEYS = 100
"""Revoked at once at most."""


class ByUse(OneOf):
    title = "state"
    parameter_name = "state"
    options = {
        "usable": ApiKeyQuerySet.usable,
        "revoked": where(revoked_at__isnull=False),
        "all": unfiltered,
    }


class KeyForm(RowForm[ApiKey]):
    """A key to be, with its globs as an operator writes them."""

    task_globs = forms.CharField(
        label="Task names",
        required=False,
        widget=forms.Textarea(attrs={"rows": 5, "cols": 60, "placeholder": "tag\ncollect.*"}),
        help_text="One a line; * stands for any characters. Empty: tasks of every name.",
    )

    bounds = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 3, "cols": 60, "placeholder": "cloud=aws,gcp\naccount=123"}),
        help_text="For a worker, one criterion a line: what each of its filters must stay within.",
    )

    class Meta:
        model = ApiKey
        fields = ("name", "role", "task_globs", "bounds")

    def clean_task_globs(self) -> list[str]:
        globs = [line.strip() for line in self.cleaned_data["task_globs"].splitlines() if line.strip()]
        for glob in globs:
            if not auth.TASK_GLOB.fullmatch(glob):
                raise forms.ValidationError(
                    f"{glob} matches no task name: names have letters, digits and _ . : - only."
                )
        return globs

    def clean_bounds(self) -> dict[str, list[str]] | None:
        lines = [line for line in self.cleaned_data["bounds"].splitlines() if line.strip()]
        try:
            bounds = parse_bounds(lines)
        except ValueError as error:
            raise forms.ValidationError(str(error)) from None
        if bounds and self.cleaned_data.get("role") != ApiKey.Role.WORKER:
            raise forms.ValidationError("Bounds are for the filters of workers: choose that role, or none.")
        return bounds or None


@admin.register(ApiKey)
class ApiKeyAdmin(OperatorAdmin[ApiKey]):
    noun = "key"
    lookups = ("state",)
    ordering = ("-id",)
    list_display = (
        "name",
        "role",
        "prefix_shown",
        "tasks",
        "filters",
        "created_at",
        "created_by",
        "last_used_at",
        "revoked_at",
    )
    list_filter = (ByUse,)
    search_help_text = "A part of a key's name, or its beginning (wq_…)."
    actions = ("revoke",)
    form = KeyForm

    class Media:
        css = {"all": ["queueapp/queue.css"]}

    def get_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> Any:
        return self.form.Meta.fields if obj is None else self.list_display

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    # ---- made, and shown once

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        by = request.user.get_username()
        created, text = auth.create_key(obj.name, obj.role, obj.task_globs, obj.bounds, by)
        audit.record(
            audit.actor_of(request),
            "create",
            kind=self.noun,
            subject=created.prefix,
            detail=auth.described(created),
        )
        obj.pk, obj.prefix = created.pk, created.prefix
        vars(obj)["text"] = text

    def response_add(
        self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None
    ) -> HttpResponse:
        """The key is in this answer and nowhere else: in no message, which a cookie would carry, in no address.
        No browser stores it, as all pages of the admin (`no-store`)."""
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "original": obj,
            "title": f"The key {obj.name}",
            "text": vars(obj)["text"],
            "page": page_of(ApiKey, obj.pk),
            "media": self.media,
        }
        return TemplateResponse(request, "admin/queueapp/apikey/created.html", context)

    # ---- its page

    def page_context(self, request: HttpRequest, key: ApiKey, context: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "use": key_use.uses([key.pk])[key.pk],
            "sessions": key_use.sessions_of(key.pk),
            "all_sessions": list_of(WorkerSession, api_key__id__exact=key.pk, state="all"),
            "submitted": key_use.submitted_by(key.pk),
            "looked_at": key_use.TASKS_LOOKED_AT,
            "buttons": [] if key.revoked_at else context["buttons"],
        }

    def subject(self, row: ApiKey) -> str:
        return row.prefix

    def search(self, queryset: QuerySet[ApiKey], word: str) -> QuerySet[ApiKey]:
        usable = len(word) <= NAME_LENGTH and is_storable(word)
        return queryset.filter(Q(name__icontains=word) | Q(prefix=word[:10])) if usable else queryset.none()

    @admin.display(description="begins with")
    def prefix_shown(self, key: ApiKey) -> str:
        return f"{key.prefix}…"

    @admin.display(description="task names")
    def tasks(self, key: ApiKey) -> str:
        return " ".join(key.task_globs) or "all"

    @admin.display(description="bounds")
    def filters(self, key: ApiKey) -> str:
        return bounds_text(key.bounds) or NOTHING

    # ---- revoked

    @admin.action(description="Revoke selected keys, for ever", permissions=["steer"])
    def revoke(self, request: HttpRequest, keys: ApiKeyQuerySet) -> HttpResponse | None:
        if "confirmed" not in request.POST:
            return self._what_would_be_cut_off(request, keys)
        self.steer(
            request, keys.usable(), lambda ids: access.revoke(ids, database.now()), "revoked", action="revoke"
        )
        return None

    def _what_would_be_cut_off(self, request: HttpRequest, keys: ApiKeyQuerySet) -> HttpResponse | None:
        selected = keys.usable()
        usable = list(selected[:CONFIRMED_KEYS])
        if not usable:
            self.message_user(request, "Nothing to revoke: they are revoked already.", messages.WARNING)
            return None
        uses = key_use.uses([key.pk for key in usable])
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "Revoke, for ever?",
            "keys": [(key, uses[key.pk]) for key in usable],
            "left_out": selected.count() - len(usable),
            "back": page_of(ApiKey, usable[0].pk) if "_from_page" in request.POST else list_of(ApiKey),
            "from_page": "_from_page" in request.POST,
            "media": self.media,
        }
        return TemplateResponse(request, "admin/queueapp/apikey/revoke.html", context)
