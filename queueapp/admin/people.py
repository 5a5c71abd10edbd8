"""Users and groups: Django's own pages, of which the audit log has what was given to whom, and by whom."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters

from queueapp import audit


class _Audited(admin.ModelAdmin):  # type: ignore[type-arg]  # of users and of groups
    """What the admin logs of a row is recorded too, in the transaction of the change. The stock admin opens one
    for its forms, and none for an action.
    """

    def response_action(self, *arguments: Any, **options: Any) -> HttpResponse | None:
        with transaction.atomic():
            return super().response_action(*arguments, **options)

    def log_addition(self, request: HttpRequest, object: Any, message: Any) -> Any:
        return self._recorded(request, "create", super().log_addition(request, object, message), object)

    def log_change(self, request: HttpRequest, object: Any, message: Any) -> Any:
        return self._recorded(request, "change", super().log_change(request, object, message), object)

    def log_deletions(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        for row in queryset:
            audit.record(audit.actor_of(request), "delete", kind=self.noun, subject=str(row))
        return super().log_deletions(request, queryset)

    @property
    def noun(self) -> str:
        return str(self.opts.model_name)

    def _recorded(self, request: HttpRequest, action: str, entry: LogEntry, row: Any) -> LogEntry:
        detail = f"{entry.get_change_message()}\n{described(row)}"
        audit.record(audit.actor_of(request), action, kind=self.noun, subject=str(row), detail=detail)
        return entry


def described(row: User | Group) -> str:
    """What the user or the group may do now, in a line."""
    if isinstance(row, Group):
        return f"Permissions: {_listed(row.permissions.values_list('codename', flat=True))}"
    flags = [name for name in ("active", "staff", "superuser") if getattr(row, f"is_{name}")]
    groups = _listed(row.groups.values_list("name", flat=True))
    own = _listed(row.user_permissions.values_list("codename", flat=True))
    return f"{_listed(flags)}; groups: {groups}; permissions of its own: {own}"


def _listed(words: Any) -> str:
    return ", ".join(words) or "none"


admin.site.unregister([User, Group])


@admin.register(User)
class AuditedUserAdmin(_Audited, UserAdmin):  # type: ignore[type-arg]
    @method_decorator(sensitive_post_parameters())
    def user_change_password(self, *arguments: Any, **options: Any) -> HttpResponse:
        with transaction.atomic():
            return super().user_change_password(*arguments, **options)


@admin.register(Group)
class AuditedGroupAdmin(_Audited, GroupAdmin):
    pass
