"""What selects many tasks slowly: previews end, operations begin, and their steps get smaller and go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection
from rows import NOW, begin_operation, carry_out, pending, row

from queueapp import bulk, lifecycle, operations, portions
from queueapp.domain.states import Action
from queueapp.models import Operation
from tests.endless import endless

pytestmark = pytest.mark.django_db

LONG = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000) SELECT count(*) FROM n"
"""A tenth of a second."""


@contextmanager
def slow_over(few: int) -> Iterator[list[int]]:
    """Portions of more tasks than that take too long. Yields how large they were to be."""
    sizes: list[int] = []

    def is_slow(sql: str, _: Any) -> bool:
        if "queueapp_task" not in sql or "OFFSET" not in sql:
            return False
        sizes.append(int(sql.split("OFFSET ")[1].split()[0].strip(")")) + 1)
        return sizes[-1] > few

    with endless(is_slow):
        yield sizes


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portions, "SMALLEST", 2)


def ended(count: int) -> None:
    lifecycle.cancel(pending(count), NOW)


class TestAPreview:
    def test_goes_on_with_smaller_portions(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(portions, "SECONDS", 60)
        ended(25)
        with slow_over(20) as sizes:
            found = bulk.preview(Action.RETRY, {"name": "tag"})
        assert (found.count, found.looked_at, len(found.samples)) == (25, None, bulk.SAMPLES)
        assert sizes[:3] == [2000, 200, 20]

    def test_says_that_it_looked_at_none_where_even_the_smallest_takes_too_long(self) -> None:
        ended(5)
        with slow_over(0):
            found = bulk.preview(Action.RETRY, {"name": "tag"})
        assert (found.count, found.looked_at, found.samples) == (0, 0, [])

    def test_of_few_live_tasks_is_bounded_too(self) -> None:
        pending(5)

        with endless(lambda sql, _: "queueapp_task" in sql and "COUNT(" in sql):
            found = bulk.preview(Action.CANCEL, {"name": "tag"})
        assert (found.count, found.looked_at) == (0, 0)


class TestAnOperation:
    def counted(self) -> Operation:
        """One of thirty tasks, of which nothing was slow so far."""
        pending(30)
        operation = begin_operation(Action.CANCEL, name="tag")
        while Operation.objects.filter(counted_at__isnull=True).exists():
            operations.carry_on(operation.id)
        Operation.objects.update(portion=None)  # on a busy machine that may have been slow indeed
        return operation

    def test_begins_though_its_tasks_cannot_be_counted_at_once(self) -> None:
        tasks = pending(5)
        with slow_over(2):
            operation = begin_operation(Action.CANCEL, name="tag")
            assert (operation.total, operation.counted_at, operation.position) == (0, None, None)
            carry_out(operation.id)
        operation.refresh_from_db()
        assert (operation.state, operation.total, operation.done) == ("done", 5, 5)
        assert {row(task_id).state for task_id in tasks} == {"cancelled"}

    def test_takes_smaller_steps_where_larger_ones_take_too_long(self) -> None:
        operation = self.counted()
        with slow_over(10) as sizes:
            assert operations.carry_on(operation.id)
        assert sizes[:4] == [5000, 500, 50, 5]
        operation.refresh_from_db()
        assert (operation.done, operation.state) == (sizes[-1], "running")

    def test_takes_the_smallest_step_however_long_it_takes(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Guard: no deadline for the smallest portion."""
        monkeypatch.setattr(portions, "STATEMENT_SECONDS", 0.01)
        pending(3)
        asked: list[str] = []

        def take_longer(execute: Callable[..., Any], sql: str, parameters: Any, many: bool, context: Any) -> Any:
            if "queueapp_task" in sql and "OFFSET" in sql:
                asked.append(sql)
                assert len(asked) < 50
                execute(LONG, (), many, context)
            return execute(sql, parameters, many, context)

        with connection.execute_wrapper(take_longer):
            operation = begin_operation(Action.CANCEL, name="tag")
            carry_out(operation.id)
        operation.refresh_from_db()
        assert (operation.state, operation.done) == ("done", 3)

    def test_changes_no_larger_portion_than_it_looks_at_though_it_counted_one(self) -> None:
        operation = self.counted()
        Operation.objects.update(portion=operations.COUNTED_AT_ONCE)
        with slow_over(operations.LOOKED_AT_ONCE) as sizes:
            assert operations.carry_on(operation.id)
        assert sizes == [operations.LOOKED_AT_ONCE]

    def test_goes_on_with_the_portion_that_was_found_good(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(operations, "QUICK_SECONDS", 0.0)
        operation = self.counted()
        with slow_over(10) as sizes:
            carry_out(operation.id)
        # Six steps change five tasks each, and a seventh finds that none is left.
        assert sizes == [5000, 500, 50, 5, 5, 5, 5, 5, 5, 5]
        operation.refresh_from_db()
        assert (operation.state, operation.done) == ("done", 30)

    def test_takes_larger_ones_again_once_they_are_quick(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(operations, "QUICK_SECONDS", 60.0)
        operation = self.counted()
        with slow_over(10):
            assert operations.carry_on(operation.id)
        with slow_over(10_000) as sizes:
            carry_out(operation.id)
        assert sizes == [20, 80]
        operation.refresh_from_db()
        assert (operation.state, operation.done) == ("done", 30)

    def test_begins_its_steps_with_less_than_could_not_be_counted_at_once(self) -> None:
        pending(5)
        with slow_over(2) as sizes:
            operation = begin_operation(Action.CANCEL, name="tag")
            assert operations.carry_on(operation.id)
        assert sizes[:2] == [20_000, 2_000]
