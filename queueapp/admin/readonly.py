"""The base of every admin here: pages that are read, and actions that call a verb and report what it did."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.models import CHANGE, LogEntry
from django.core.exceptions import SuspiciousOperation, ValidationError
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils.text import smart_split

from queueapp import audit, database
from queueapp.admin.display import page_of
from queueapp.admin.lists import BoundedPaginator, OperatorChangeList
from queueapp.domain.names import is_storable

M = TypeVar("M", bound=Model)

STEERED_ROWS = 10_000
"""What one action changes at most: more would outlast the request."""
STEERED_AT_ONCE = 1000
SEARCH_LENGTH = 2000
SEARCH_WORDS = 64

if TYPE_CHECKING:

    class _ModelAdmin(admin.ModelAdmin[M]): ...

    class _TabularInline(admin.TabularInline[M, Model]): ...

    class RowForm(forms.ModelForm[M]): ...

else:

    class _ModelAdmin(admin.ModelAdmin, Generic[M]):
        pass

    class _TabularInline(admin.TabularInline, Generic[M]):
        pass

    class RowForm(forms.ModelForm, Generic[M]):
        """Django's, which does not take the model's type at run time."""


class OperatorAdmin(_ModelAdmin[M]):
    """Pages that stay fast over millions of rows, safe against any address, and with a button for each action.

    Nothing is ever deleted here. An action needs the model's `change` permission (`permissions=["steer"]`),
    also where there is no form that this permission would open.
    """

    lookups: ClassVar[Sequence[str]] = ()
    """The parameters that a list understands; any other could ask for a scan of the whole table."""
    noun: ClassVar[str] = ""
    """What the audit log calls one of the rows, where they can be steered."""
    watched: ClassVar[str] = ""
    """What a list's page watches (`queueapp.subjects`)."""
    list_per_page = 50
    list_max_show_all = 0
    paginator = BoundedPaginator
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    sortable_by: ClassVar[tuple[str, ...]] = ()
    search_fields = ("pk",)  # shows the search box; `search` says what it finds

    class Media:
        css = {"all": ["queueapp/admin.css"]}

    # ---- what subclasses say

    def for_list(self, queryset: QuerySet[M]) -> QuerySet[M]:
        """The rows as a list needs them: without the texts that only a row's own page shows."""
        return queryset

    def prepare(self, rows: Sequence[M]) -> None:
        """Put beside the rows of a page what takes further queries, the same few for any number of rows."""

    def prepare_page(self, row: M) -> None:
        """The same for the one row of a page."""
        self.prepare([row])

    def search(self, queryset: QuerySet[M], word: str) -> QuerySet[M]:
        """The rows that one word of the search box finds."""
        raise NotImplementedError

    def subject(self, row: M) -> str:
        """What the audit log calls the row."""
        return str(row.pk)

    # ---- permissions

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_steer_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm(f"{self.opts.app_label}.change_{self.opts.model_name}")

    # ---- lists

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[OperatorChangeList]:
        return OperatorChangeList

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        return lookup in self.lookups and is_storable(value)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[M], search_term: str
    ) -> tuple[QuerySet[M], bool]:
        words = list(smart_split(search_term)) if len(search_term) <= SEARCH_LENGTH else None
        if words is None or len(words) > SEARCH_WORDS:
            self.message_user(request, "Such a long search finds nothing.", messages.WARNING)
            return queryset.none(), False
        for word in words:
            queryset = self.search(queryset, word)
        return queryset, False

    # ---- a row's page

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> M | None:
        row = super().get_object(request, object_id, from_field) if is_storable(object_id) else None
        if row is not None:
            self.prepare_page(row)
        return row

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        buttons = {"buttons": [(name, name.capitalize().replace("_", " ")) for name in self.get_actions(request)]}
        response = super().change_view(request, object_id, form_url, buttons | (extra_context or {}))
        if isinstance(response, TemplateResponse) and response.context_data:
            row = response.context_data["original"]
            response.context_data |= self.page_context(request, row, response.context_data)
        return response

    def page_context(self, request: HttpRequest, row: M, context: Mapping[str, Any]) -> dict[str, Any]:
        """What the template of a row's page is given beside the context that there is."""
        return {}

    # ---- actions

    def response_action(
        self, request: HttpRequest, queryset: QuerySet[M], *arguments: Any, **options: Any
    ) -> HttpResponse | None:
        keys = request.POST.getlist(ACTION_CHECKBOX_NAME)
        if not all(self._is_key(key) for key in keys):
            raise SuspiciousOperation("What was selected is no row's key.")
        response = super().response_action(request, queryset, *arguments, **options)
        is_over = isinstance(response, HttpResponseRedirect)  # and no question that has to be answered first
        if is_over and "_from_page" in request.POST and len(keys) == 1:
            return HttpResponseRedirect(page_of(self.model, keys[0]))
        return response

    def steer(
        self,
        request: HttpRequest,
        eligible: QuerySet[M],
        verb: Callable[[Sequence[Any]], Collection[Any]],
        done: str,
        *,
        action: str,
        detail: str = "",
    ) -> None:
        """Call `verb` with the keys of the eligible among the selected rows; report what it changed, as `done`.

        The verb decides: who was eligible when the list was read may not be so any more. The audit log gets an
        entry for each call of it, which says `action`.
        """
        rows = {row.pk: row for row in eligible[: STEERED_ROWS + 1]}
        more = len(rows) > STEERED_ROWS
        keys = list(rows)[:STEERED_ROWS]
        actor = audit.actor_of(request)
        changed: list[Any] = []
        for part in database.parts(keys, STEERED_AT_ONCE):
            changed += audit.carried_out(
                actor,
                action,
                partial(verb, part),
                kind=self.noun,
                named=lambda key: self.subject(rows[key]),
                detail=detail,
            )
        assert request.user.pk is not None
        LogEntry.objects.log_actions(request.user.pk, [rows[key] for key in changed], CHANGE, done.capitalize())
        self._report(request, len(changed), done)
        if more:
            text = f"These were the first {STEERED_ROWS}: do it again for the others."
            self.message_user(request, text, messages.WARNING)

    def _report(self, request: HttpRequest, count: int, done: str) -> None:
        level = messages.SUCCESS if count else messages.WARNING
        self.message_user(request, f"{self._counted(count)} {done}.", level)
        if request.POST.get("select_across", "0") == "0":
            left = len(set(request.POST.getlist(ACTION_CHECKBOX_NAME))) - count
            if left > 0:
                text = f"{self._counted(left)} left alone: their state does not allow it."
                self.message_user(request, text, messages.WARNING)

    def _counted(self, count: int) -> str:
        return f"{count} {self.opts.verbose_name if count == 1 else self.opts.verbose_name_plural}"

    def _is_key(self, text: str) -> bool:
        try:
            self.opts.pk.clean(text, None)
        except ValidationError:
            return False
        return is_storable(text)


class ReadOnlyAdmin(OperatorAdmin[M]):
    """Rows that only verbs write: no form adds or changes one."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class ReadOnlyInline(_TabularInline[M]):
    """A table of rows that belong to the page's."""

    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
