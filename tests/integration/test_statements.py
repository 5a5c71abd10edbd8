"""Many rows in and out of one statement, whatever is in them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import pytest
from rows import pending

from queueapp import statements
from queueapp.models import Task
from queueapp.statements import Given, Returned

pytestmark = pytest.mark.django_db

NOW = datetime(2030, 1, 31, 12, tzinfo=UTC)
WIDE = Given("wide", a="text", b="text", c="text", d="text", e="text", f="text", g="timestamptz", h="text")


class Read(NamedTuple):
    task_id: UUID
    data: str
    seconds: float
    attempt: int
    since: datetime
    until: datetime | None
    avoid: list[str] | None


READ = Returned(Read)


def sent(*rows: tuple[object, ...]) -> list[tuple[object, ...]]:
    return statements.execute(
        f"WITH {WIDE.table} SELECT a, e, f, CASE WHEN g IS NULL THEN 0 ELSE 1 END, h FROM wide", [WIDE.rows(rows)]
    )


def stored(**fields: Any) -> UUID:
    (task_id,) = pending()
    Task.objects.filter(pk=task_id).update(**fields)
    return task_id


def read() -> list[Read]:
    columns = READ.columns("id", "data", "timeout_seconds", "attempt", "waiting_since", "delayed_until", "avoid")
    return READ.rows(f"SELECT {columns} FROM queueapp_task ORDER BY id", [])


class Unreadable(NamedTuple):
    held_back: bool


def test_a_row_with_a_type_that_sqlite_has_not_is_refused():
    with pytest.raises(TypeError, match="both databases"):
        Returned(Unreadable)


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


class TestRowsThatAreReturned:
    def test_each_value_is_of_the_type_of_its_field(self):
        avoided = [str(uuid4())]
        until = NOW + timedelta(days=1, microseconds=1)
        first = stored(data="1", waiting_since=NOW, timeout_seconds=0.1, avoid=avoided)
        second = stored(data="2", waiting_since=until, delayed_until=until, timeout_seconds=300, attempt=3)
        assert read() == [
            Read(first, "1", 0.1, 0, NOW, None, avoided),
            Read(second, "2", 300.0, 3, until, until, None),
        ]

    def test_times_say_that_they_are_utc(self):
        stored()
        assert [each.since.utcoffset() for each in read()] == [timedelta(0)]

    @pytest.mark.parametrize(
        "data",
        [
            '"\\"\\\\\\/\\u0001"',
            '"\x7f\u2028\u202e𝄞é"',
            '{"a": [1, null, "]"]}',
            "1.10",
            '"' + "x" * 100_000 + '"',
        ],
        ids=["escapes", "unusual", "nested", "number", "long"],
    )
    def test_a_text_comes_as_it_was_stored(self, data):
        stored(data=data)
        assert [each.data for each in read()] == [data]

    def test_there_may_be_none(self):
        assert read() == []
