"""What the server and the driver keep of what a connection asks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection

from queueapp import statements
from queueapp.models import Queue
from queueapp.statements import PREPARE_FROM

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def table() -> Iterator[str]:
    """By a name of its own: the connection may be the one that served the test before, and keep its plans."""
    table = f"kept_{uuid4().hex}"
    with connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE {table} (kept varchar(5))")
        cursor.execute(f"INSERT INTO {table} VALUES ('7')")
    yield table
    with connection.cursor() as cursor:
        cursor.execute(f"DROP TABLE {table}")


@pytest.fixture
def asked(table: str) -> str:
    """What has been asked often."""
    statement = f"SELECT kept FROM {table}"
    for _ in range(PREPARE_FROM + 2):
        statements.execute(statement)
    return statement


def kept_plans() -> list[str]:
    return [row[0] for row in statements.execute("SELECT statement FROM pg_prepared_statements")]


@pytest.fixture
def no_prepared_statements(settings: Any) -> None:
    settings.WORKQUEUE = replace(settings.WORKQUEUE, prepared_statements=False)


def test_the_plan_of_what_is_asked_often_is_kept(asked: str) -> None:
    assert asked in kept_plans()


def test_none_is_where_a_proxy_knows_of_none(no_prepared_statements: None, asked: str) -> None:
    assert asked not in kept_plans()


def test_the_driver_remembers_nothing_of_what_django_asks(asked: str) -> None:
    """Guard: `statements._cursor` ends that. The last hundred texts of each connection were kept, with all that
    was in them."""
    for letter in "xyz" * PREPARE_FROM:
        Queue.objects.filter(name=letter * 1000).exists()
    driver = connection.connection
    assert not [key for key in driver._prepared._counts if b"xxx" in key[0]]


def test_a_plan_that_does_not_fit_any_more_is_made_anew(table: str, asked: str) -> None:
    """As while a migration changes a column's type and processes of the version before still run."""
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} ALTER COLUMN kept TYPE integer USING kept::integer")
    assert statements.execute(asked) == [(7,)]
