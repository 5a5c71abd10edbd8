"""Statements about many rows at once. The rows travel as one JSON text, which both databases take apart.

For 500 rows of two ids, a number and a text, in microseconds a row with the driver's part: as JSON 2.4, as
PostgreSQL arrays 10, as `VALUES` with a placeholder for each value 16. Nor does it know a largest number of rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from types import NoneType, UnionType
from typing import Any, Generic, TypeVar, get_args, get_origin, get_type_hints
from uuid import UUID

import msgspec
import psycopg
from django.db import DEFAULT_DB_ALIAS, NotSupportedError, connection, connections

from queueapp.conf import config
from queueapp.database import adapt, is_postgresql

Row = TypeVar("Row", bound=tuple[Any, ...])

_encode = msgspec.json.Encoder().encode
_encode_for_sqlite = msgspec.json.Encoder(uuid_format="hex").encode
"""Ids there are texts of 32 digits."""

PREPARE_FROM = 3
"""How often a connection runs a statement before its plan is kept."""

_FEW = "nth * 1 = nth"
"""True of every row, but the planner thinks: of one in two hundred. So it looks up each row that is given by an
index, whatever it believes of the table. Left to its guess of a hundred rows, and without statistics as on the
first day or with those of a backlog that is gone, it reads the whole table or all that is pending instead, which
took three times the time with twenty thousand tasks and would have no end with a million."""

NARROW = 5
"""Of tables with more columns SQLite takes out only those that some row has: each costs a third of a
microsecond a row, and most tasks say little of what a task may say."""


class Given:
    """A table that is handed to a statement: `Given("report", task_id="uuid", payload="text")`.

    The types are PostgreSQL's, which SQLite does not need. Ids and times go in as such; JSON goes in as text.
    """

    def __init__(self, name: str, /, **columns: str) -> None:
        self.name = name
        fields = [(column, Any, None) for column in columns]
        self._object = msgspec.defstruct(name, fields, omit_defaults=True)
        typed = ", ".join(f"{column} {kind}" for column, kind in columns.items())
        rows = f"ROWS FROM (json_to_recordset(%s::json) AS ({typed})) WITH ORDINALITY"
        self._postgresql = f"{name} AS (SELECT * FROM {rows} AS {name}({', '.join(columns)}, nth) WHERE {_FEW})"
        self._sqlite = _taken_apart_by_sqlite(name, list(columns))
        self._times = [place for place, kind in enumerate(columns.values()) if kind == "timestamptz"]

    @property
    def table(self) -> str:
        """For the `WITH` of the statement. It takes one parameter: what `rows()` returns."""
        return self._postgresql if is_postgresql() else self._sqlite

    def rows(self, rows: Iterable[Sequence[Any]]) -> str:
        """The parameter: values in the order of the columns."""
        if is_postgresql():
            return _encode([self._object(*row) for row in rows]).decode()
        if self._times:
            rows = _with_times_adapted(rows, self._times)
        return _encode_for_sqlite(_up_to_the_last_column(rows)).decode()

    def update_tasks(
        self, assignments: str, condition: str, returning: str, among: str = "", beside: str = ""
    ) -> str:
        """An `UPDATE` of the tasks named by the column `task_id`, where the condition holds, as `task`.

        Tasks are locked in the order of their ids, whatever the plan: two batches that share some would deadlock
        otherwise. The row that was locked is then found by its place, which costs a third of finding it by its id
        again. One that somebody else changed while this statement waited for it is locked and not updated, for the
        statement does not see its new version: who must know asks again for what is missing.

        The rest is PostgreSQL's, where each statement is an answer that is waited for, and then waited for the
        interpreter, which the event loop has. `among`: a condition on which of the given rows count; `beside`: a
        table more, that writes something else from what was `changed`.
        """
        if is_postgresql():
            tables = [self.table, self._changed(assignments, condition, returning, among)]
            if beside:
                tables.append(beside)
            return f"WITH {', '.join(tables)} SELECT * FROM changed"
        return f"""
            WITH {self.table}
            UPDATE queueapp_task AS task SET {assignments} FROM {self.name}
            WHERE task.id = {self.name}.task_id AND {condition} RETURNING {returning}
            """

    def _changed(self, assignments: str, condition: str, returning: str, among: str) -> str:
        # IS TRUE: else it would be made a join, and one without an index, for the planner expects few rows.
        return f"""
            locked AS MATERIALIZED (
                SELECT task.ctid AS place, {self.name}.*
                FROM {self.name} JOIN queueapp_task AS task ON task.id = {self.name}.task_id
                WHERE ({among or "true"}) IS TRUE ORDER BY task.id FOR UPDATE OF task
            ), changed AS (
                UPDATE queueapp_task AS task SET {assignments} FROM locked AS {self.name}
                WHERE task.ctid = {self.name}.place AND {condition} RETURNING {returning}
            )
            """


def _taken_apart_by_sqlite(name: str, columns: Sequence[str]) -> str:
    taken = [f"json_extract(value, '$[{place}]')" for place in range(len(columns))]
    if len(columns) <= NARROW:
        return f"{name} AS MATERIALIZED (SELECT {_named(taken, columns)} FROM json_each(%s))"
    for place in range(NARROW, len(columns)):
        taken[place] = f"CASE WHEN width > {place} THEN {taken[place]} END"
    return f"""
        {name}_sent AS MATERIALIZED (
            SELECT text, json_array_length(text, '$[0]') AS width FROM (SELECT %s AS text)
        ), {name} AS MATERIALIZED (
            SELECT {_named(taken, columns)} FROM {name}_sent CROSS JOIN json_each({name}_sent.text)
        )
        """


def _named(values: Iterable[str], columns: Iterable[str]) -> str:
    return ", ".join(f"{value} AS {column}" for value, column in zip(values, columns, strict=True))


def _up_to_the_last_column(rows: Iterable[Sequence[Any]]) -> list[Sequence[Any]]:
    """The rows, all equally wide, without what none of them has at its end."""
    rows = list(rows)
    width = len(rows[0]) if rows else 0
    if width <= NARROW:
        return rows
    columns = list(zip(*rows, strict=True))
    while width > NARROW and columns[width - 1].count(None) == len(rows):
        width -= 1
    return [row[:width] for row in rows]


def _with_times_adapted(rows: Iterable[Sequence[Any]], places: Sequence[int]) -> Iterator[Sequence[Any]]:
    """Each time once: the tasks of a pass share a few, and to adapt one takes longer than the rest of a row."""
    adapted: dict[int, tuple[datetime, Any]] = {}  # by what it is, not what it says: to hash a time takes as long
    for row in rows:
        values = list(row)
        for place in places:
            time = values[place]
            if time is not None:
                if id(time) not in adapted:
                    adapted[id(time)] = time, adapt(time)  # kept, so that no other gets its place
                values[place] = adapted[id(time)][1]
        yield values


class Returned(Generic[Row]):
    """What a statement returns, as named tuples: `Returned(ReadyTask)`. The types of the fields say how they are
    read.

    From SQLite each row comes as one JSON text, which is read in one go. Its driver would make an object of each
    value, and Python of texts the ids and times that they stand for, one by one. Fractions have fifteen digits.
    """

    def __init__(self, row: type[Row]) -> None:
        self._make: Callable[[Iterable[Any]], Row] = row._make  # type: ignore[attr-defined]
        self._decode = msgspec.json.Decoder(row).decode
        self._in_json = [_in_json(type) for type in get_type_hints(row).values()]

    def columns(self, *columns: str) -> str:
        """For the SELECT or RETURNING: SQL for each field."""
        if is_postgresql():
            return ", ".join(columns)
        values = (form.format(column) for form, column in zip(self._in_json, columns, strict=True))
        return f"json_array({', '.join(values)})"

    def rows(self, statement: str, parameters: Sequence[Any]) -> list[Row]:
        """Run a statement that returns these columns and no others."""
        rows = execute(statement, parameters)
        if is_postgresql():
            return list(map(self._make, rows))
        return [self._decode(text) for (text,) in rows]


_IN_JSON = {int: "{}", float: "{}", str: "{}", UUID: "{}", datetime: "{} || 'Z'", list[str]: "json({})"}
"""SQL for columns of these types as SQLite keeps them: times are UTC without saying so, lists are JSON already."""


def _in_json(type: Any) -> str:
    """What may be None too. TypeError for a type that would come as something else from SQLite."""
    (kind,) = {*get_args(type)} - {NoneType} if get_origin(type) is UnionType else {type}
    if kind not in _IN_JSON:
        raise TypeError(f"{type} cannot be read on both databases: say how in statements._IN_JSON.")
    return _IN_JSON[kind]


NAMED = "SELECT named_id FROM named"
"""The ids that are given to `rows_of`, for `IN (…)`."""

_IDS = Given("named", named_id="uuid")


def rows_of(ids: Iterable[UUID], statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """Run a statement that speaks of `IN ({NAMED})`, the rows with these ids, and what it returns."""
    return execute(f"WITH {_IDS.table} {statement}", [_IDS.rows((each,) for each in ids), *parameters])


def execute(statement: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """Run the statement, and what it returns. Times that are parameters have been through `adapt`."""
    try:
        return _executed(statement, parameters)
    except NotSupportedError:
        # A plan that was kept, and a column that has another type since. In a transaction its end would mend that.
        if connection.in_atomic_block:
            raise
        _executed("DEALLOCATE ALL", ())  # by this cursor, whose driver hears of it and forgets them too
        return _executed(statement, parameters)


def _executed(statement: str, parameters: Sequence[Any]) -> list[tuple[Any, ...]]:
    with _cursor() as cursor:
        cursor.execute(statement, parameters)
        # Not whether there is a `description`: to make one took a twelfth of the processor's time of a pass.
        has_no_rows = is_postgresql() and cursor.rownumber is None
        return [] if has_no_rows else cursor.fetchall()


@contextmanager
def _cursor() -> Iterator[Any]:
    """Django's own cursor writes the parameters into the statement and reads the results as text; this one leaves
    the former to the server, and reads binary."""
    # Each look through `connection` finds the thread's anew, which takes a twentieth of a statement's time.
    database: Any = connections[DEFAULT_DB_ALIAS]
    if not is_postgresql():
        with database.cursor() as cursor:
            yield cursor
        return
    database.ensure_connection()
    driver: psycopg.Connection[Any] = database.connection
    binary = psycopg.Cursor(driver)
    binary.format = psycopg.pq.Format.BINARY
    # The server keeps the plan of what is asked often. Without that the statements of a pass are parsed and
    # planned each time, half a millisecond for each. Not of what Django asks: with its parameters in its text it
    # is never the same, and the driver would remember the last hundred texts of each connection, those with a
    # megabyte of data among them.
    driver.prepare_threshold = PREPARE_FROM if config().prepared_statements else None
    try:
        with database._prepare_cursor(binary) as cursor:
            yield cursor
    finally:
        driver.prepare_threshold = None
