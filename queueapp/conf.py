"""Every setting of the queue, typed, with its unit in its name; read once from `WORKQUEUE_…` variables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from queueapp.domain.rates import UNLIMITED, Rate


@dataclass(frozen=True, slots=True)
class Config:
    """Field `x_y` is set by the environment variable `WORKQUEUE_X_Y`."""

    psk: str = ""
    """A pre-shared key for workers that authenticate with a JWT; empty: only API keys are accepted."""
    max_outstanding: int = 100
    """What a worker holds at most when it does not say."""
    frame_limit_bytes: int = 1024 * 1024
    """A larger frame from a worker closes its connection with 1009."""
    registration_timeout_seconds: float = 10.0
    authentication_timeout_seconds: float = 5.0
    ping_interval_seconds: float = 10.0
    ping_timeout_seconds: float = 10.0
    max_connections: int = 20_000
    """Worker connections of one process."""
    unusable_frames_per_minute: int = 100
    lease_seconds: float = 6.0
    """A process that has not renewed its lease for so long is dead, and its workers' tasks are reassigned."""
    poll_interval_seconds: float = 1.0
    """The slow poll behind every doorbell."""
    pass_size: int = 1000
    """Tasks that one pass assigns at most."""
    drain_grace_seconds: float = 10.0
    body_limit_bytes: int = 10 * 1024 * 1024
    data_limit_bytes: int = 1024 * 1024
    bulk_limit: int = 10_000
    attrs_limit: int = 32
    max_wait_seconds: float = 300.0
    """The longest `?wait=`."""
    throttle: Rate = UNLIMITED
    """How many requests a key may make, as `1000/s`, `600/m` or `5000/h`, to each process; empty: any number."""
    cors_origins: str = ""
    """Sites whose pages may call the API with a key, with commas, as `https://app.example`; empty: none."""
    metrics_need_key: bool = False
    """Whether `/metrics` takes an operator's key."""
    callback_secret: str = ""
    """Signs callbacks: `whsec_` and base64, several separated by spaces while they change. Empty: one made from
    SECRET_KEY, which `manage.py callback_secret` prints."""
    callback_allowed_networks: str = ""
    """Networks that are not of the public internet and that callbacks may go to: `10.0.0.0/8 127.0.0.1/32`."""
    callback_timeout_seconds: float = 10.0
    """How long one attempt to deliver a callback may take, from the look-up of the name to the answer."""
    task_retention_days: float = 0.0
    """For how long a task is kept once it has ended, with its attempts and callbacks. 0: for ever; so for the
    next four."""
    callback_retention_days: float = 30.0
    """Once a callback is delivered or given up."""
    operation_retention_days: float = 30.0
    """Once an operation has ended."""
    worker_retention_days: float = 30.0
    """Once a worker session is gone or a server process has stopped."""
    audit_retention_days: float = 365.0
    channel_prefix: str = "workqueue"
    """Begins the names of this installation's channels in Redis, so that several may share one."""
    database_pool_size: int = 16
    """PostgreSQL connections of one process at most. All processes together stay below `max_connections`."""
    database_pool_timeout_seconds: float = 5.0
    """How long a request waits for a connection before it is told 503."""
    database_connect_timeout_seconds: int = 5
    prepared_statements: bool = True
    """Whether the server keeps the plans of what a connection asks often. Not behind PgBouncer before 1.21, which
    sends the next statement to another connection."""
    statement_timeout_seconds: float = 30.0
    """The server ends a longer statement. 0, for a migration of a large table: no limit; so for the next two."""
    lock_timeout_seconds: float = 10.0
    idle_in_transaction_timeout_seconds: float = 10.0
    """A process that stopped in the middle of a transaction loses its connection, and with it its locks. Shorter
    where they hold up all processes: `database.brief_transaction`."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Config:
        values: dict[str, Any] = {}
        for field in fields(cls):
            name = f"WORKQUEUE_{field.name.upper()}"
            if name in environment:
                kind: Any = type(field.default)
                read = _boolean if kind is bool else kind
                try:
                    values[field.name] = read(environment[name])
                except (ValueError, KeyError) as error:
                    raise ImproperlyConfigured(f"{name} must be of type {kind.__name__}: {error}.") from None
        return cls(**values)


def _boolean(text: str) -> bool:
    return {"1": True, "true": True, "0": False, "false": False}[text.lower()]


def config() -> Config:
    """The settings in force (`settings.WORKQUEUE`, which tests override)."""
    return settings.WORKQUEUE
