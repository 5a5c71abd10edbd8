"""Lists in pages, by a cursor: `{"next", "previous", "results"}`, newest first."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from rest_framework.exceptions import NotFound
from rest_framework.pagination import Cursor, CursorPagination
from rest_framework.request import Request

from queueapp.api.parameters import InvalidParameters, invalid
from queueapp.domain.ids import as_id
from queueapp.domain.names import is_task_name

DEFAULT_LIMIT = 100
MAX_LIMIT = 500


class Pages(CursorPagination):
    """Pages of rows ordered by one unique column. A cursor that was not made here is a 404."""

    page_size = DEFAULT_LIMIT
    page_size_query_param = "limit"
    max_page_size = MAX_LIMIT
    invalid_cursor_message = "The cursor is not one of this list: follow `next` and `previous`."

    def page_of(self, rows: QuerySet[Any], request: Request) -> list[Any]:
        page = self.paginate_queryset(rows, request)
        assert page is not None  # DRF's None means no page size, and there always is one
        return page

    def get_page_size(self, request: Request) -> int:
        text = request.query_params.get("limit")
        if text is None:
            return DEFAULT_LIMIT
        if not (text.isascii() and text.isdigit() and len(text) <= 9 and 1 <= int(text) <= MAX_LIMIT):
            raise InvalidParameters([invalid("limit", f"must be a whole number from 1 to {MAX_LIMIT}")])
        return int(text)

    def decode_cursor(self, request: Request) -> Cursor | None:
        """A position goes into the database's comparison as it came, unless it is looked at here."""
        cursor = super().decode_cursor(request)
        if cursor is not None and cursor.position is not None and not self.is_position(str(cursor.position)):
            raise NotFound(self.invalid_cursor_message)
        return cursor

    def is_position(self, text: str) -> bool:
        raise NotImplementedError


class NewestFirst(Pages):
    """By id: UUIDv7s sort by the time at which they were made."""

    ordering = "-id"

    def is_position(self, text: str) -> bool:
        return as_id(text) is not None


class ByName(Pages):
    ordering = "name"

    def is_position(self, text: str) -> bool:
        return is_task_name(text)


class ByNumber(Pages):
    ordering = "number"

    def is_position(self, text: str) -> bool:
        return text.isascii() and text.isdigit() and len(text) <= 9
