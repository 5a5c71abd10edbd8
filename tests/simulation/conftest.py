"""The database of the simulation, migrated once for a process and a file."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
from pytest_django.plugin import DjangoDbBlocker

from queueapp import auth
from queueapp.models import ApiKey
from tests.simulation.database import Database, in_memory

SELDOM = (50_000, 20, 100)
"""Thresholds of the garbage collector: by default a fifth of the time goes into looking through all of Django."""


@pytest.fixture(scope="module")
def database(django_db_blocker: DjangoDbBlocker) -> Iterator[Database]:
    usual = gc.get_threshold()
    gc.set_threshold(*SELDOM)
    try:
        with django_db_blocker.unblock(), in_memory() as database:
            yield database
    finally:
        gc.set_threshold(*usual)


@pytest.fixture(scope="module")
def token(database: Database) -> str:
    """Of a worker's key."""
    return auth.create_key("simulated", ApiKey.Role.WORKER)[1]
