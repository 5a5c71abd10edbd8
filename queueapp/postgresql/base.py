"""Django's PostgreSQL, with a pool that replaces what has died and does not ask each time whether it lives.

Django's own asks the server whenever a connection is taken out of the pool. A request takes one for each piece of
its work: whoever waited for one task waited for two such answers, a quarter of a millisecond of seven.
"""

from __future__ import annotations

from collections.abc import Callable
from select import POLLIN, poll
from time import monotonic
from typing import Any, ClassVar

from django.db.backends.base.base import NO_DB_ALIAS
from django.db.backends.postgresql import base
from psycopg import Connection, Error
from psycopg_pool import ConnectionPool


class Pool(ConnectionPool[Connection[Any]]):
    """Goes on to the next where one is dead, which is seldom alone: psycopg's own, given a check, waits before it
    looks at another, each time twice as long. With four of them nobody got a connection for five seconds. (Where
    all are, one more is opened than there were, for who waits; the pool closes what is idle for ten minutes.)"""

    def getconn(self, timeout: float | None = None) -> Connection[Any]:
        give_up_at = monotonic() + (self.timeout if timeout is None else timeout)
        while True:
            connection = super().getconn(give_up_at - monotonic())
            if _lives(connection):
                return connection
            self.putconn(connection)  # which has another opened in its place


def _lives(connection: Connection[Any]) -> bool:
    """Ask only where something has come that nobody asked for: nearly always the end of the connection, by the
    server, by a proxy or, when nobody has answered at the other end for some seconds, by this machine's kernel.
    Until then whoever takes such a connection finds out."""
    arrived = poll()
    arrived.register(connection.fileno(), POLLIN)
    if arrived.poll(0):
        try:
            ConnectionPool.check_connection(connection)
        except Error:
            return False
    return True


class DatabaseWrapper(base.DatabaseWrapper):
    # Django's own, which its type stubs leave out.
    _connection_pools: ClassVar[dict[str, Pool]]
    _configure_connection: Callable[[Connection[Any]], None]

    @property
    def pool(self) -> Pool | None:
        options = self.settings_dict["OPTIONS"].get("pool")
        if self.alias == NO_DB_ALIAS or not options:
            return None
        if self.alias not in self._connection_pools:
            pool = Pool(
                kwargs={**self.get_connection_params(), "autocommit": True},
                open=False,
                configure=self._configure_connection,
                **({} if options is True else options),
            )
            self._connection_pools.setdefault(self.alias, pool)  # another thread may have been quicker
        return self._connection_pools[self.alias]
