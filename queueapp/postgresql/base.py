"""Django's PostgreSQL, with a pool that replaces what has died and does not ask each time whether it lives.

Django's own asks the server whenever a connection is taken out of the pool. A request takes one for each piece of
its work: whoever waited for one task waited for two such answers, a quarter of a millisecond of seven.
"""

from __future__ import annotations

from collections.abc import Callable
from select import POLLIN, poll
from typing import Any, ClassVar

from django.db.backends.base.base import NO_DB_ALIAS
from django.db.backends.postgresql import base
from psycopg import Connection, Error
from psycopg_pool import ConnectionPool


class Pool(ConnectionPool[Connection[Any]]):
    def __init__(self, *, is_checked: bool, **options: Any) -> None:
        super().__init__(check=self.replace_if_dead if is_checked else None, **options)

    def replace_if_dead(self, connection: Connection[Any]) -> None:
        """Ask only where something has come that nobody asked for: nearly always the end of the connection, by
        the server, by a proxy or, when nobody has answered at the other end for some seconds, by this machine's
        kernel. Until then whoever takes such a connection finds out.

        One that is dead is seldom alone. Found one after the other, each is waited for twice as long as the last
        (psycopg's pool does so): with four of them nobody got a connection for five seconds. So all are replaced,
        and none of the others is asked: one whose peer is silent would keep them all.
        """
        arrived = poll()
        arrived.register(connection.fileno(), POLLIN)
        if not arrived.poll(0):
            return
        try:
            self.check_connection(connection)
        except Error:
            self.drain()
            raise


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
                is_checked=self.settings_dict["CONN_HEALTH_CHECKS"],
                kwargs={**self.get_connection_params(), "autocommit": True},
                open=False,
                configure=self._configure_connection,
                **({} if options is True else options),
            )
            self._connection_pools.setdefault(self.alias, pool)  # another thread may have been quicker
        return self._connection_pools[self.alias]
