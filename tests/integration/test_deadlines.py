"""Statements that end in time."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from rows import NOW, pending

from queueapp import portions, searching
from queueapp.database import is_postgresql
from queueapp.deadlines import CutOff, within
from queueapp.models import Task
from queueapp.searching import page
from tests.endless import ENDLESS

pytestmark = pytest.mark.django_db


def run(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


def settings() -> list[str]:
    if not is_postgresql():
        return []
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('statement_timeout'), current_setting('enable_seqscan')")
        return list(cursor.fetchone())


def test_what_takes_too_long_is_cut_off_and_the_connection_goes_on() -> None:
    before = settings()
    with pytest.raises(CutOff), within(0.05):
        run(ENDLESS)
    assert settings() == before
    assert Task.objects.count() == 0


def test_what_is_quick_is_not_and_leaves_no_bound_behind() -> None:
    before = settings()
    with within(60):
        assert settings()[:1] in ([], ["1min"])
        assert Task.objects.count() == 0
    assert settings() == before


def test_other_errors_are_not_taken_for_it() -> None:
    with pytest.raises(Exception, match="nothing_of_that_name") as raised, within(60):
        run("SELECT * FROM nothing_of_that_name")
    assert not isinstance(raised.value, CutOff)


class TestASearchThatIsCutOff:
    @pytest.fixture(autouse=True)
    def impatient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Of each portion of more than ten tasks it is said that it takes too long."""

        def cut(execute, sql, parameters, many, context):
            if (
                "queueapp_task" in sql
                and "OFFSET" in sql
                and int(sql.split("OFFSET ")[1].split()[0].strip(")")) >= 10
            ):
                raise CutOff
            return execute(sql, parameters, many, context)

        monkeypatch.setattr(searching, "FIRST_PORTION", 50)
        with connection.execute_wrapper(cut):
            yield

    def test_goes_on_with_smaller_portions(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(portions, "SMALLEST", 1)
        newest = sorted(pending(12), reverse=True)
        assert page({"name": "tag"}, NOW).ids[:5] == newest[:5]

    def test_says_so_where_even_the_smallest_takes_too_long(self) -> None:
        pending(12)
        found = page({"name": "tag"}, NOW)
        assert (found.ids, found.looked_at) == ([], 0)


def test_what_waits_is_looked_for_among_all_where_its_index_takes_too_long() -> None:
    waiting = pending(3)

    def cut(execute, sql, parameters, many, context):
        if "GREATEST" in sql.upper() or "MAX(" in sql.upper():
            raise CutOff
        return execute(sql, parameters, many, context)

    with connection.execute_wrapper(cut):
        assert page({"waiting": ">5m"}, NOW + timedelta(hours=1)).ids == sorted(waiting, reverse=True)
