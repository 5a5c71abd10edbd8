"""The database of the simulation, migrated once for a process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pytest_django.plugin import DjangoDbBlocker

from queueapp import auth
from queueapp.models import ApiKey
from tests.simulation.database import Database, in_memory


@pytest.fixture(scope="module")
def database(django_db_blocker: DjangoDbBlocker) -> Iterator[Database]:
    with django_db_blocker.unblock(), in_memory() as database:
        yield database


@pytest.fixture(scope="module")
def token(database: Database) -> str:
    """Of a worker's key."""
    return auth.create_key("simulated", ApiKey.Role.WORKER)[1]
