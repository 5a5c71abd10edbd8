"""API keys: made, with their text shown once; revoked; never changed or deleted."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html

from queueapp import access, audit, auth, database
from queueapp.admin.display import NOTHING
from queueapp.admin.lists import OneOf, unfiltered, where
from queueapp.admin.readonly import OperatorAdmin, RowForm
from queueapp.domain.names import is_storable
from queueapp.domain.reach import bounds_text, parse_bounds
from queueapp.models import NAME_LENGTH, ApiKey
from queueapp.querysets import ApiKeyQuerySet


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
    list_display = ("name", "role", "prefix_shown", "tasks", "filters", "created_at", "last_used_at", "revoked_at")
    list_filter = (ByUse,)
    search_help_text = "A part of a key's name, or its beginning (wq_…)."
    actions = ("revoke",)
    form = KeyForm

    def get_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> Any:
        if obj is None:
            return self.form.Meta.fields
        return self.list_display

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        created, text = auth.create_key(obj.name, obj.role, obj.task_globs, obj.bounds)
        audit.record(
            audit.actor_of(request),
            "create",
            kind=self.noun,
            subject=created.prefix,
            detail=auth.described(created),
        )
        obj.pk, obj.prefix = created.pk, created.prefix
        shown = format_html("This is the key. It is shown this once and kept nowhere: <code>{}</code>", text)
        self.message_user(request, shown, messages.WARNING)

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

    @admin.action(description="Revoke selected keys, for ever", permissions=["steer"])
    def revoke(self, request: HttpRequest, keys: ApiKeyQuerySet) -> None:
        self.steer(
            request, keys.usable(), lambda ids: access.revoke(ids, database.now()), "revoked", action="revoke"
        )
