"""Lists over millions of rows: bounded counts, and filters that never ask for DISTINCT values of a large table."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from django.contrib import admin
from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property

from queueapp.admin.links import now_of_list
from queueapp.domain.names import is_task_name
from queueapp.models import Queue

if TYPE_CHECKING:
    from queueapp.admin.readonly import OperatorAdmin

    _Paginator = Paginator[Any]
else:
    _Paginator = Paginator

LISTED_ROWS = 1000
LISTED_QUEUES = 100


class BoundedPaginator(_Paginator):
    """Pages of the first `LISTED_ROWS` rows. To count further would read all that match, only to show a number."""

    @cached_property
    def count(self) -> int:
        assert isinstance(self.object_list, QuerySet)
        return self.object_list.order_by().values("pk")[:LISTED_ROWS].count()

    @property
    def is_cut(self) -> bool:
        """Whether there may be rows that no page shows."""
        return self.count >= LISTED_ROWS


class OperatorChangeList(ChangeList):
    """A list whose admin names what it leaves unread, and adds to a page's rows in few queries for all of them."""

    model_admin: OperatorAdmin[Any]

    @cached_property
    def now_address(self) -> str:
        """Where the page asks what has become of its rows; nothing where there is nothing to be watched."""
        watched, rows = self.model_admin.watched, [row.pk for row in self.result_list]
        return now_of_list(watched, rows, **self._beginning()) if watched else ""

    def _beginning(self) -> dict[str, str]:
        """Of a page before which there is nothing, and from which no filter leaves anything out: what comes to be
        belongs there."""
        return {} if self.params or self.page_num > 1 else {"newer": "1"}

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        return self.model_admin.for_list(super().get_queryset(request, exclude_parameters))

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        self.result_list = list(self.result_list)
        self.model_admin.prepare(self.result_list)


class OneOf(admin.SimpleListFilter):
    """A filter with a fixed list of selections. The first holds when none is chosen, or one that is unknown."""

    options: ClassVar[Mapping[str, Callable[[Any], QuerySet[Any]]]]

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(label, label) for label in self.options]

    def value(self) -> str:
        given = super().value()
        return given if given is not None and given in self.options else next(iter(self.options))

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return self.options[self.value()](queryset)

    def choices(self, changelist: ChangeList) -> Iterator[Any]:
        for label in self.options:
            yield {
                "selected": label == self.value(),
                "query_string": changelist.get_query_string({str(self.parameter_name): label}),
                "display": label,
            }


class OfQueue(admin.SimpleListFilter):
    """The rows of one task name. Names come from the queues: there are few of them, and many tasks."""

    title = "queue"
    parameter_name = "name"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        names = set(Queue.objects.order_by("name").values_list("name", flat=True)[:LISTED_QUEUES])
        if chosen := self.value():
            names.add(chosen)
        return [(name, name) for name in sorted(names)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        name = self.value()
        if name is None:
            return queryset
        return self.of_name(queryset, name) if is_task_name(name) else queryset.none()

    def of_name(self, queryset: QuerySet[Any], name: str) -> QuerySet[Any]:
        return queryset.filter(name=name)


def unfiltered(queryset: QuerySet[Any]) -> QuerySet[Any]:
    """All of them, as an option of a filter."""
    return queryset


def where(**conditions: Any) -> Callable[[QuerySet[Any]], QuerySet[Any]]:
    """Those that meet the conditions, as an option of a filter."""
    return lambda queryset: queryset.filter(**conditions)
