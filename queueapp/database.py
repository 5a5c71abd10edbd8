"""What differs between the databases, in one place: the clock, the locks, lists of values in statements."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from functools import cache, lru_cache, wraps
from time import sleep
from typing import Any, ParamSpec, TypeVar
from uuid import UUID

import psycopg
from django.db import InterfaceError, InternalError, OperationalError, connection, connections, transaction
from django.db.models import BooleanField, Func, TextField, Value
from django.utils import timezone

from queueapp.conf import config

P = ParamSpec("P")
R = TypeVar("R")

DISPATCH_LOCK = 0x77_71_01
RETRIES = 5
DATABASE_AWAY = (OperationalError, InterfaceError)
IDS_KEPT = 8192
"""Some two megabytes."""
IDLE_IN_TRANSACTION_TIMEOUT = "25P03"
"""An SQLSTATE."""


@cache
def is_postgresql() -> bool:
    """Kept, for to find the thread's connection takes a microsecond or two."""
    return connection.vendor == "postgresql"


def now() -> datetime:
    """The database's clock, in UTC. SQLite has no other clock than this machine's."""
    if not is_postgresql():
        return timezone.now()
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {clock()}")
        return told_time(cursor.fetchone()[0])


def clock() -> str:
    """SQL for the time, to be asked for along with something else; `told_time` reads it."""
    return "clock_timestamp()" if is_postgresql() else "NULL"


def told_time(told: Any) -> datetime:
    """What the database has said to `clock`."""
    return now() if told is None else told


def try_lock_until_commit(key: int) -> bool:
    """As the lock of `brief_transaction`, without waiting: whether this transaction is the holder now. On SQLite
    it is: whoever else writes has ended before, or begins after it."""
    if not is_postgresql():
        return True
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [key])
        return bool(cursor.fetchone()[0])


def for_update() -> str:
    """The clause that locks the rows of a raw SELECT."""
    return "FOR UPDATE" if is_postgresql() else ""


def elapsed_seconds(column: str) -> str:
    """SQL for the seconds from a time column to the time given as the parameter."""
    if is_postgresql():
        return f"EXTRACT(EPOCH FROM %s - {column})"
    return f"(julianday(%s) - julianday({column})) * 86400.0"


def octets(column: str) -> str:
    """SQL for how many bytes a text takes."""
    return f"octet_length({column})" if is_postgresql() else f"length(CAST({column} AS BLOB))"


def adapt(value: Any) -> Any:
    """A Python value as the driver wants it in a raw statement."""
    if isinstance(value, UUID):
        return value if is_postgresql() else value.hex
    if isinstance(value, datetime):
        return connection.ops.adapt_datetimefield_value(value)
    return value


class Literal(Value):
    """A word of our own, written into the statement instead of handed over as a parameter: SQLite uses a partial
    index only where it can see that the statement implies the index's condition."""

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        assert str(self.value).isidentifier()
        return f"'{self.value}'", ()


class _JsonTest(Func):
    """A condition on a JSON column, written out for each database.

    Django's own `contains` is missing on SQLite, and its key transforms read the key `1` as a place in a list.
    """

    output_field = BooleanField()
    conditional = True
    postgresql_sql: str
    sqlite_sql: str

    def as_sql(self, compiler: Any, connection: Any, *args: Any, **extra: Any) -> tuple[str, Any]:
        parts = [compiler.compile(expression) for expression in self.get_source_expressions()]
        pattern = self.postgresql_sql if connection.vendor == "postgresql" else self.sqlite_sql
        return pattern.format(*(sql for sql, _ in parts)), [param for _, params in parts for param in params]


class ObjectHas(_JsonTest):
    """Whether a JSON object has the member with that text: `ObjectHas("attrs", Value(key), Value(text))`."""

    postgresql_sql = "({0} ->> {1}) = {2}"
    sqlite_sql = "EXISTS (SELECT 1 FROM json_each({0}) WHERE key = {1} AND atom = {2})"


class ArrayHas(_JsonTest):
    """Whether a JSON array of strings has the element: `ArrayHas("tags", Value(tag))`."""

    postgresql_sql = "jsonb_exists({0}, {1})"
    sqlite_sql = "EXISTS (SELECT 1 FROM json_each({0}) WHERE atom = {1})"


class JsonAt(Func):
    """The scalar at a path of a column with JSON texts, as text: `JsonAt("data", ("nodes", 0, "id"))`. None where
    there is nothing, or null.

    The text is read as it was stored. PostgreSQL's jsonb would fail on numbers that are too large for it.
    """

    output_field = TextField()

    def __init__(self, column: str, path: Sequence[str | int]) -> None:
        super().__init__(column)
        self._path = tuple(path)

    def as_postgresql(self, compiler: Any, connection: Any, **extra: Any) -> tuple[str, Any]:
        column, parameters = compiler.compile(self.get_source_expressions()[0])
        steps = [f"-> %s::{'int' if isinstance(step, int) else 'text'}" for step in self._path]
        steps[-1] = steps[-1].replace("->", "->>")
        return f"({column}::json {' '.join(steps)})", [*parameters, *self._path]

    def as_sqlite(self, compiler: Any, connection: Any, **extra: Any) -> tuple[str, Any]:
        column, parameters = compiler.compile(self.get_source_expressions()[0])
        path = "$" + "".join(f"[{step}]" if isinstance(step, int) else f'."{step}"' for step in self._path)
        sql = (
            f"CASE json_type({column}, %s) WHEN 'null' THEN NULL WHEN 'text' THEN json_extract({column}, %s) "
            f"ELSE {column} -> %s END"
        )
        return sql, [*parameters, path, *parameters, path, *parameters, path]


def object_has_one_of(column: str) -> str:
    """SQL for whether a JSON object has a member (a parameter) whose text is in a JSON array (another)."""
    if is_postgresql():
        return f"{column} ->> %s::text IN (SELECT jsonb_array_elements_text(%s::jsonb))"
    return (
        f"EXISTS (SELECT 1 FROM json_each({column}) AS member WHERE member.key = %s "
        "AND member.atom IN (SELECT value FROM json_each(%s)))"
    )


def as_uuid(value: Any) -> UUID:
    return value if isinstance(value, UUID) else _uuid_of_hex(value)


@lru_cache(maxsize=IDS_KEPT)
def _uuid_of_hex(text: str) -> UUID:
    """SQLite's. To read one takes a microsecond, and within a moment a task's is read when it is found, assigned
    and finished, a route's and a worker's with each of their tasks: kept, that is one in twenty."""
    return UUID(hex=text)


def as_datetime(value: Any) -> datetime:
    """A time from a raw statement; SQLite's come without their zone, which is UTC, and computed ones as text."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def as_json(value: Any) -> Any:
    """A JSON column of a raw statement, which SQLite has as text; from PostgreSQL a text is a JSON string."""
    return value if value is None or is_postgresql() else json.loads(value)


def parts(rows: Sequence[R], size: int) -> Iterator[Sequence[R]]:
    return (rows[start : start + size] for start in range(0, len(rows), size))


@contextmanager
def brief_transaction(
    lock: int | None = None, *, waits_for_disk: bool = True, scans_plainly: bool = False
) -> Iterator[datetime]:
    """A transaction with locks that every process needs: it neither holds them nor waits for them for long.

    `lock`: the named decision has one holder at a time, until the end of the transaction, so that it passes a
    transaction-pooling proxy and dies with its holder. SQLite has one writer anyway (BEGIN IMMEDIATE). Yields the
    time by the database's clock, at which the lock was had.

    Not `waits_for_disk`: its commit is answered before PostgreSQL has it on the disk, which takes milliseconds.
    For what may be undone when PostgreSQL is killed or its machine fails, and only then: who reads sees it, and a
    commit after it waits for it too. SQLite waits for the disk at no commit, as it is set here.

    One that `scans_plainly` reads an index without a bitmap. So the entries whose rows are dead are marked, and
    passed by from then on; with a bitmap each is looked at again until the next vacuum. `with_bitmaps` makes
    exceptions.

    A process that stops in the middle of one (SIGSTOP, a frozen machine) would hold up all the others: the server
    ends it, and lets go of its locks, after a third of a lease. Who waits for a lock gives up after half a lease,
    so that a hub, which renews its lease on the same thread, comes to do so. OperationalError for either.
    """
    with noticing_loss(), transaction.atomic(savepoint=False):
        yield _opened(lock, waits_for_disk, scans_plainly) if is_postgresql() else now()


@contextmanager
def with_bitmaps() -> Iterator[None]:
    """In a transaction that `scans_plainly`, for statements whose conditions are joined by OR: only a bitmap finds
    the rows of several of them in an index. After an error the transaction is over."""
    if not is_postgresql():
        yield
        return
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_bitmapscan = on")
        yield
        cursor.execute("SET LOCAL enable_bitmapscan = off")


def _opened(lock: int | None, waits_for_disk: bool, scans_plainly: bool) -> datetime:
    """All in one message: each answer is waited for, and then waited for the interpreter. (In a pipeline more
    could go along, but a process that is stopped in the middle of one is not idle to the server, which then never
    ends its transaction.)"""
    lease_ms = config().lease_seconds * 1000
    # Until the end of this transaction: a setting of the session would stay in a pooled connection.
    statement = f"{_begin()}SELECT set_config('idle_in_transaction_session_timeout', %s, true); "
    statement += "SELECT set_config('lock_timeout', %s, true); "
    # A plan that was made and kept when a table was small would read the whole of it for ever. Where a table is
    # read as a whole all the same, that is now thought to be so dear that the plan would be compiled.
    statement += "SELECT set_config('enable_seqscan', 'off', true), set_config('jit', 'off', true); "
    parameters: list[Any] = [str(round(lease_ms / 3)), str(round(lease_ms / 2))]
    if not waits_for_disk:
        statement += "SELECT set_config('synchronous_commit', 'off', true); "
    if scans_plainly:
        statement += "SELECT set_config('enable_bitmapscan', 'off', true); "
    if lock is not None:
        statement += "SELECT pg_advisory_xact_lock(%s); "
        parameters.append(lock)
    with connection.cursor() as cursor:
        cursor.execute(f"{statement}SELECT {clock()}", parameters)
        while cursor.nextset():
            pass
        return told_time(cursor.fetchone()[0])


def _begin() -> str:
    """For the first statement of a transaction. The driver, left to itself, sends it in a message of its own; one
    that it believes to commit each statement does not, and ends what there is all the same."""
    connection.ensure_connection()
    driver: psycopg.Connection[Any] = connection.connection
    has_begun = driver.pgconn.transaction_status != psycopg.pq.TransactionStatus.IDLE
    # Whose connection never commits by itself has not asked Django to end the transaction either.
    if has_begun or driver.autocommit or not connection.commit_on_exit:
        return ""
    driver.autocommit = True  # as Django leaves it when the transaction is over
    return "BEGIN; "


def transaction_unless(is_one_statement: bool) -> AbstractContextManager[None]:
    """A statement by itself is a transaction, whose BEGIN and COMMIT are no answers to be waited for."""
    return nullcontext() if is_one_statement else transaction.atomic(savepoint=False)


@contextmanager
def noticing_loss() -> Iterator[None]:
    """Raise OperationalError where the server has ended the connection for having been idle in a transaction, as
    it does to a process that was stopped for a while: psycopg calls that an internal error."""
    try:
        yield
    except InternalError as error:
        if was_idle_for_too_long(error):
            raise OperationalError(*error.args) from error
        raise


def is_known_to_be_undone(error: Exception) -> bool:
    """Whether the database has said that what was asked of it failed. Else it may have been done, and the answer
    lost with the connection."""
    if not is_postgresql():
        return True
    diagnosis = getattr(error.__cause__, "diag", None)
    return diagnosis is not None and diagnosis.severity_nonlocalized == "ERROR"


def give_back_connection() -> None:
    """At the end of a piece of work, on a thread that will have others to do.

    PostgreSQL's goes back to the pool. SQLite's stays open, unless it has failed: to open one takes half a
    millisecond, and each of its statements is then prepared anew.
    """
    if is_postgresql() or connection.errors_occurred:
        connections.close_all()


def was_idle_for_too_long(error: InternalError) -> bool:
    return getattr(error.__cause__, "sqlstate", None) == IDLE_IN_TRANSACTION_TIMEOUT


def retried(verb: Callable[P, R]) -> Callable[P, R]:
    """Run again what lost against another transaction (serialisation failure, deadlock, busy).

    Inside a transaction of the caller's the error goes up, to whoever opened it.
    """

    @wraps(verb)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        for attempt in range(RETRIES):
            try:
                return verb(*args, **kwargs)
            except OperationalError as error:
                if attempt == RETRIES - 1 or transaction.get_connection().in_atomic_block:
                    raise
                if not _lost_a_race(error):
                    raise
                sleep(0.01 * 2**attempt)
        raise AssertionError("unreachable")

    return wrapper


def _lost_a_race(error: OperationalError) -> bool:
    state = getattr(error.__cause__, "sqlstate", None)
    return state in ("40001", "40P01") or "database is locked" in str(error)
