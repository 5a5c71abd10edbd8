"""What the server and the driver keep of what a connection asks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from django.db import connection

from queueapp import statements
from queueapp.models import Queue
from queueapp.statements import PREPARE_FROM

pytestmark = pytest.mark.django_db(transaction=True)

ASKED = "SELECT kept FROM kept_plan"


@pytest.fixture
def table() -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE kept_plan (kept varchar(5))")
        cursor.execute("INSERT INTO kept_plan VALUES ('7')")
    yield
    with connection.cursor() as cursor:
        cursor.execute("DROP TABLE kept_plan")


def ask_often() -> None:
    for _ in range(PREPARE_FROM + 2):
        statements.execute(ASKED)


def kept_plans() -> list[str]:
    return [row[0] for row in statements.execute("SELECT statement FROM pg_prepared_statements")]


def test_the_plan_of_what_is_asked_often_is_kept(table: None) -> None:
    ask_often()
    assert ASKED in kept_plans()


def test_none_is_where_a_proxy_knows_of_none(table: None, settings: Any) -> None:
    settings.WORKQUEUE = replace(settings.WORKQUEUE, prepared_statements=False)
    ask_often()
    assert ASKED not in kept_plans()


def test_the_driver_remembers_nothing_of_what_django_asks(table: None) -> None:
    """Guard: `statements._cursor` ends that. The last hundred texts of each connection were kept, with all that
    was in them."""
    ask_often()
    for letter in "xyz" * PREPARE_FROM:
        Queue.objects.filter(name=letter * 1000).exists()
    driver = connection.connection
    assert not [key for key in driver._prepared._counts if b"xxx" in key[0]]


def test_a_plan_that_does_not_fit_any_more_is_made_anew(table: None) -> None:
    """As while a migration changes a column's type and processes of the version before still run."""
    ask_often()
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE kept_plan ALTER COLUMN kept TYPE integer USING kept::integer")
    assert statements.execute(ASKED) == [(7,)]
