"""Statements that end in time, whatever is searched for or deleted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from django.db import OperationalError, connection, transaction

from queueapp.database import is_postgresql

QUERY_CANCELED = "57014"
"""An SQLSTATE."""
STEPS_BETWEEN_LOOKS = 10_000
"""Of SQLite's machine: about a millisecond."""


class CutOff(Exception):
    """A statement took longer than it may. What it had found is lost, and nothing was changed."""


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Statements of the block, each bounded (on SQLite all of them together). A block that writes stands in a
    transaction, which goes the way of what was cut off.

    No table is read from its beginning to its end meanwhile: of a large one that is never the way to a page of it,
    whatever statistics of yesterday say.
    """
    bounded = _within_on_postgresql if is_postgresql() else _within_on_sqlite
    with bounded(seconds):
        try:
            yield
        except OperationalError as error:
            if _was_cut_off(error):
                raise CutOff from error
            raise


@contextmanager
def _within_on_postgresql(seconds: float) -> Iterator[None]:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('statement_timeout'), current_setting('enable_seqscan')")
        before = cursor.fetchone()
        _set(f"{max(1, round(seconds * 1000))}ms", "off")
        yield
        # Until the end of the transaction, which may be a larger one.
        _set(*before)


def _set(statement_timeout: str, enable_seqscan: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config('statement_timeout', %s, true), set_config('enable_seqscan', %s, true)",
            [statement_timeout, enable_seqscan],
        )


@contextmanager
def _within_on_sqlite(seconds: float) -> Iterator[None]:
    connection.ensure_connection()
    end = monotonic() + seconds
    connection.connection.set_progress_handler(lambda: monotonic() > end, STEPS_BETWEEN_LOOKS)
    try:
        yield
    finally:
        connection.connection.set_progress_handler(None, 0)


def _was_cut_off(error: OperationalError) -> bool:
    return getattr(error.__cause__, "sqlstate", None) == QUERY_CANCELED or str(error) == "interrupted"
