"""Django system checks for set-ups that start and then lose time, tasks or connections.

They read settings and touch neither the network nor the database.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register
from django.db import connections

from queueapp.conf import Config, config
from queueapp.domain.addresses import read_networks
from queueapp.domain.webhooks import read_secrets

POOLED = "queueapp.postgresql"
"""Its pool looks at each connection that it hands out, whatever Django's settings say."""
POSTGRESQL = (POOLED, "django.db.backends.postgresql")
SQLITE = ("queueapp.sqlite", "django.db.backends.sqlite3")

MEMORY_LAYER = "channels.layers.InMemoryChannelLayer"
PUBSUB_LAYER = "channels_redis.pubsub.RedisPubSubChannelLayer"
CORE_MODULE = "channels_redis.core."

DEAD_NODE_SECONDS = 10.0
"""Within which the tasks of a server process that died are with others (contract, section 4)."""
DEAD_PEER_SECONDS = 25.0
"""Within which the tasks of a worker that answers no more are with others."""
LONGEST_RETENTION_DAYS = 36_500.0
SHORTEST_PING_TIMEOUT_SECONDS = 1.0
"""Autobahn rounds the end of the time down to a whole second: less than one may be none at all."""


@dataclass(frozen=True, slots=True)
class Setup:
    """What is checked. `layer` is the dotted name of the default channel layer, empty where there is none."""

    database: Mapping[str, Any]
    layer: str
    redis_url: str
    debug: bool
    config: Config

    @classmethod
    def in_force(cls) -> Setup:
        layers: Mapping[str, Any] = getattr(settings, "CHANNEL_LAYERS", {})
        return cls(
            database=connections.settings["default"],
            layer=layers.get("default", {}).get("BACKEND", ""),
            redis_url=getattr(settings, "REDIS_URL", ""),
            debug=settings.DEBUG,
            config=config(),
        )

    @property
    def options(self) -> Mapping[str, Any]:
        return self.database.get("OPTIONS") or {}

    @property
    def in_memory(self) -> bool:
        return self.layer in ("", MEMORY_LAYER)


@register("workqueue")
def check_setup(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    return list(faults(Setup.in_force()))


def faults(setup: Setup) -> Iterator[CheckMessage]:
    """What is wrong with the set-up, each with a hint that says what to do."""
    engine = setup.database.get("ENGINE")
    if engine in SQLITE:
        yield from _of_sqlite(setup)
    elif engine in POSTGRESQL:
        yield from _of_postgresql(setup)
    else:
        yield Error(
            f"The queue does not work on {engine}.",
            hint="Set DATABASE_URL to PostgreSQL, or leave it empty for SQLite.",
            id="workqueue.E001",
        )
    yield from _of_the_layer(setup)
    yield from _of_times(setup.config)
    yield from _of_callbacks(setup.config)
    yield from _of_retention(setup.config)


def _of_sqlite(setup: Setup) -> Iterator[CheckMessage]:
    if setup.redis_url or not setup.in_memory:
        yield Error(
            "Redis is set up, as for several server processes, and the database is SQLite, which is for one.",
            hint="Set DATABASE_URL to PostgreSQL to run several, or unset REDIS_URL to run one.",
            id="workqueue.E002",
        )
    if setup.options.get("transaction_mode") != "IMMEDIATE":
        yield Error(
            "SQLite begins transactions deferred: one that turns into a writer while others write fails at once.",
            hint='Set "transaction_mode": "IMMEDIATE" in the OPTIONS of the database.',
            id="workqueue.E003",
        )
    if "journal_mode=wal" not in str(setup.options.get("init_command", "")).lower().replace(" ", ""):
        yield Warning(
            "SQLite is not told to keep a write-ahead log: whoever reads keeps others from writing.",
            hint='Begin "init_command" in the OPTIONS of the database with "PRAGMA journal_mode=WAL;".',
            id="workqueue.W001",
        )


def _of_postgresql(setup: Setup) -> Iterator[CheckMessage]:
    if not setup.options.get("pool"):
        yield Warning(
            "PostgreSQL is used without a pool: each request opens a connection of its own.",
            hint='Set "pool" in the OPTIONS of the database, as workqueue_project/postgresql.py does.',
            id="workqueue.W002",
        )
    elif setup.database.get("ENGINE") != POOLED and not setup.database.get("CONN_HEALTH_CHECKS"):
        yield Error(
            "The pool hands out connections without a check: after a restart of PostgreSQL they are dead.",
            hint=f'Use {POOLED} for its ENGINE, or set "CONN_HEALTH_CHECKS": True.',
            id="workqueue.E004",
        )
    if setup.database.get("CONN_MAX_AGE", 0) != 0:
        yield Error(
            "Django keeps connections to PostgreSQL (CONN_MAX_AGE): each thread holds one that it does not use.",
            hint='Set "CONN_MAX_AGE": 0 for the database (the default) and let the pool keep them.',
            id="workqueue.E005",
        )


def _of_the_layer(setup: Setup) -> Iterator[CheckMessage]:
    if setup.layer.startswith(CORE_MODULE):
        yield Error(
            f"{setup.layer} loses messages of a burst and breaks off what an idle channel receives.",
            hint=f"Use {PUBSUB_LAYER}, as REDIS_URL does.",
            id="workqueue.E006",
        )
    elif setup.in_memory and setup.redis_url:
        yield Error(
            "REDIS_URL lets several server processes start, and the channel layer reaches no other process.",
            hint=f"Use {PUBSUB_LAYER} for CHANNEL_LAYERS, or unset REDIS_URL.",
            id="workqueue.E007",
        )
    elif setup.in_memory and setup.database.get("ENGINE") in POSTGRESQL and not setup.debug:
        yield Warning(
            "PostgreSQL with the in-memory channel layer is for one server process: a second one is refused.",
            hint="Set REDIS_URL to run several. To run one on purpose, silence this check.",
            id="workqueue.W003",
        )


def _of_times(config: Config) -> Iterator[CheckMessage]:
    if config.lease_seconds < 2 * config.poll_interval_seconds:
        yield Error(
            "The lease is shorter than twice the poll interval, at which it is renewed: one late renewal, and "
            "others take a living process for dead.",
            hint="Raise WORKQUEUE_LEASE_SECONDS or lower WORKQUEUE_POLL_INTERVAL_SECONDS.",
            id="workqueue.E008",
        )
    if config.lease_seconds + config.poll_interval_seconds > DEAD_NODE_SECONDS:
        yield Warning(
            "A server process that died is found when its lease is over and somebody polls: later than the "
            f"{DEAD_NODE_SECONDS:.0f} seconds that workers and producers may rely on.",
            hint="Lower WORKQUEUE_LEASE_SECONDS or WORKQUEUE_POLL_INTERVAL_SECONDS.",
            id="workqueue.W004",
        )
    if config.ping_interval_seconds <= 0 or config.ping_timeout_seconds < SHORTEST_PING_TIMEOUT_SECONDS:
        yield Error(
            "Workers are not pinged in earnest: without an interval there are no pings, and a wait of less than "
            f"{SHORTEST_PING_TIMEOUT_SECONDS:.0f} second for the answer may be none at all.",
            hint="Set WORKQUEUE_PING_INTERVAL_SECONDS above 0 and WORKQUEUE_PING_TIMEOUT_SECONDS to 1 or more.",
            id="workqueue.E009",
        )
    elif config.ping_interval_seconds + config.ping_timeout_seconds >= DEAD_PEER_SECONDS:
        yield Warning(
            f"A worker that answers no more is found later than after {DEAD_PEER_SECONDS:.0f} seconds.",
            hint="Lower WORKQUEUE_PING_INTERVAL_SECONDS or WORKQUEUE_PING_TIMEOUT_SECONDS.",
            id="workqueue.W005",
        )


def _of_callbacks(config: Config) -> Iterator[CheckMessage]:
    try:
        read_secrets(config.callback_secret)
    except ValueError as error:
        yield Error(
            f"Callbacks cannot be signed: {error}.",
            hint="Correct WORKQUEUE_CALLBACK_SECRET, or unset it: the one made from SECRET_KEY is used then.",
            id="workqueue.E010",
        )
    try:
        read_networks(config.callback_allowed_networks)
    except ValueError as error:
        yield Error(
            f"It cannot be told where callbacks may go: {error}.",
            hint="Set WORKQUEUE_CALLBACK_ALLOWED_NETWORKS to networks such as 10.0.0.0/8, or unset it.",
            id="workqueue.E011",
        )
    if config.callback_timeout_seconds <= 0:
        yield Error(
            "No callback can be delivered: no time is given to an attempt.",
            hint="Set WORKQUEUE_CALLBACK_TIMEOUT_SECONDS above 0.",
            id="workqueue.E012",
        )


def _of_retention(config: Config) -> Iterator[CheckMessage]:
    for field in fields(config):
        name, days = field.name, getattr(config, field.name)
        if name.endswith("_retention_days") and not 0 <= days <= LONGEST_RETENTION_DAYS:
            yield Error(
                f"Nothing can be kept for {days:g} days.",
                hint=f"Set WORKQUEUE_{name.upper()} from 0, for ever, to {LONGEST_RETENTION_DAYS:g}.",
                id="workqueue.E013",
            )
