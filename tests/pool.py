"""Who has connections of the pool, which are few: a thread that ends with one is a connection less for ever."""

from __future__ import annotations

from time import monotonic, sleep

from django.db import DEFAULT_DB_ALIAS

from queueapp.postgresql.base import DatabaseWrapper

PATIENCE_SECONDS = 30


def until_threads_gave_theirs_back() -> None:
    """Return when nobody has one but the main thread, whose tests have a transaction open; AssertionError if that
    takes too long. They come back a moment after what was read with them."""
    give_up_at = monotonic() + PATIENCE_SECONDS
    while (number := _number_out()) > 1:
        assert monotonic() < give_up_at, f"{number} are out: a thread has not given back its own"
        sleep(0.001)


def _number_out() -> int:
    pool = DatabaseWrapper._connection_pools.get(DEFAULT_DB_ALIAS)
    if pool is None:
        return 0
    stats = pool.get_stats()
    return stats["pool_size"] - stats["pool_available"]
