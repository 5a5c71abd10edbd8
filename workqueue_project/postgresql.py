"""The database settings for PostgreSQL: a pool that hands out no dead connections, and a limit on every wait."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from queueapp.conf import Config

ENGINE = "django.db.backends.postgresql"
"""Of a `DATABASE_URL`."""
POOLED = "queueapp.postgresql"
"""The same, with a pool of our own."""

RECONNECT_SECONDS = 2.0
"""The pool doubles its pause after each failed connection. Giving up this early, and starting afresh with the next
who asks, it is back a moment after the database; with its default of five minutes it may sleep for half as long
as the database was away."""

KEEPALIVES = {
    # A peer that vanished without a word (power, a firewall that forgot) is noticed within 20 seconds.
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 2,
    "tcp_user_timeout": 20_000,  # milliseconds: what has been sent and is not acknowledged
}

UNREAD_SECONDS = 5.0
"""For how long the server waits for a client that reads nothing of a large answer, as one that is stopped does.
Until the answer is read the server counts a transaction as busy, and no other limit ends it. Shorter than a lease,
because it may hold locks that all processes need. Over a Unix socket there is no such limit."""

_ADDRESS = {"host": "HOST", "port": "PORT", "user": "USER", "password": "PASSWORD"}
"""Parts of the address that may also stand in the URL's query, as `postgres:///name?host=/directory` does."""


def postgresql(url: Mapping[str, Any], config: Config) -> dict[str, Any]:
    """Django's settings for the database of a parsed `DATABASE_URL`; what its query says goes before."""
    query = dict(url.get("OPTIONS", {}))
    address = {setting: query.pop(part) for part, setting in _ADDRESS.items() if part in query}
    server_settings = f"{_server_settings(config)} {query.pop('options', '')}".strip()
    return {
        **url,
        **address,
        "ENGINE": POOLED,
        "CONN_MAX_AGE": 0,  # the pool keeps connections; Django refuses to do so besides
        # A cursor on the server outlives its transaction, which a transaction-pooling proxy does not allow.
        "DISABLE_SERVER_SIDE_CURSORS": True,
        "OPTIONS": {
            "application_name": "workqueue",
            "connect_timeout": config.database_connect_timeout_seconds,
            **KEEPALIVES,
            **query,
            "options": server_settings,
            "pool": {
                "min_size": 1,
                "max_size": config.database_pool_size,
                "timeout": config.database_pool_timeout_seconds,
                "reconnect_timeout": RECONNECT_SECONDS,
            },
        },
    }


def _server_settings(config: Config) -> str:
    """Sent when a connection is opened, which costs no round trip. (PgBouncer takes them with
    `ignore_startup_parameters = options`; then set them for the role.)"""
    seconds = {
        "statement_timeout": config.statement_timeout_seconds,
        "lock_timeout": config.lock_timeout_seconds,
        "idle_in_transaction_session_timeout": config.idle_in_transaction_timeout_seconds,
        "tcp_user_timeout": UNREAD_SECONDS,
    }
    return " ".join(f"-c {name}={round(value * 1000)}" for name, value in seconds.items())
