"""Many rows in and out of one statement, whatever is in them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from queueapp import statements
from queueapp.statements import Given

pytestmark = pytest.mark.django_db

NOW = datetime(2030, 1, 31, 12, tzinfo=UTC)
WIDE = Given("wide", a="text", b="text", c="text", d="text", e="text", f="text", g="timestamptz", h="text")


def sent(*rows: tuple[object, ...]) -> list[tuple[object, ...]]:
    return statements.execute(
        f"WITH {WIDE.table} SELECT a, e, f, CASE WHEN g IS NULL THEN 0 ELSE 1 END, h FROM wide", [WIDE.rows(rows)]
    )


class TestRowsThatAreGiven:
    def test_a_column_is_there_for_all_rows_if_one_has_it(self):
        rows = [("1", *[None] * 7), ("2", *[None] * 5, NOW, None), ("3", *[None] * 7)]
        assert sent(*rows) == [("1", None, None, 0, None), ("2", None, None, 1, None), ("3", None, None, 0, None)]

    def test_the_last_column_counts_as_the_others(self):
        assert sent((*[None] * 7, "h")) == [(None, None, None, 0, "h")]

    def test_what_is_empty_and_what_is_missing_are_told_apart(self):
        assert sent((*[None] * 5, "", None, "")) == [(None, None, "", 0, "")]

    def test_columns_that_no_row_has_are_null(self):
        assert sent(("1", *[None] * 7)) == [("1", None, None, 0, None)]

    def test_there_may_be_no_rows(self):
        assert sent() == []
