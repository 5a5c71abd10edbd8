"""Operations step by step: portions, counts, and tasks that change under way."""

from __future__ import annotations

from collections.abc import Callable
from threading import enumerate as threads
from typing import Any
from uuid import UUID

import pytest
from django.db import OperationalError, connection, transaction
from django.test.utils import CaptureQueriesContext
from rows import NOW, after, assigned, begin_operation, carry_out, done, pending, row, session, submission

from queueapp import background, database, lifecycle, maintenance, operations, portions
from queueapp.access import Watch
from queueapp.domain.states import Action
from queueapp.lifecycle import activity
from queueapp.models import Operation, Task, new_id

SMALL = 3
"""Tasks a portion, in a test with a dozen of them."""


@pytest.fixture(autouse=True)
def small_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operations, "COUNTED_AT_ONCE", SMALL)
    monkeypatch.setattr(operations, "LOOKED_AT_ONCE", SMALL)
    monkeypatch.setattr(operations, "CHANGED_AT_ONCE", SMALL - 1)
    # On a busy machine reading takes long, and portions would get smaller still.
    monkeypatch.setattr(portions, "STATEMENT_SECONDS", 60)


def start(action: Action = Action.CANCEL, **filters: Any) -> UUID:
    return begin_operation(action, **filters).id


def progress(operation: Operation) -> tuple[str, int, int, int]:
    return operation.state, operation.total, operation.done, operation.unchanged


def states(task_ids: list[UUID]) -> list[str]:
    return [row(task_id).state for task_id in task_ids]


@pytest.mark.django_db
class TestEverythingThatMatches:
    @pytest.mark.parametrize("count", range(3 * SMALL + 2))
    def test_is_changed_whatever_portions_it_falls_into(self, count: int) -> None:
        tasks = [task_id for number in range(count) for task_id in (*pending(), *pending(name="other"))]
        operation = carry_out(start(name="tag"))
        assert progress(operation) == ("done", count, count, 0)
        assert states(tasks) == ["cancelled", "pending"] * count

    def test_is_changed_though_it_lies_far_apart(self) -> None:
        first, *_, last = [*pending(), *pending(5 * SMALL, name="other"), *pending()]
        assert progress(carry_out(start(name="tag"))) == ("done", 2, 2, 0)
        assert states([first, last]) == ["cancelled"] * 2

    def test_is_what_was_there_when_it_was_asked_for(self) -> None:
        [old] = pending()
        operation_id = start()
        [receipt] = lifecycle.submit([submission()], None, after(0.001))
        assert progress(carry_out(operation_id)) == ("done", 1, 1, 0)
        assert states([old, receipt.task_id]) == ["cancelled", "pending"]

    def test_is_retried_once_each(self) -> None:
        """What ends again while the operation runs is not retried for ever."""
        tasks = pending(2 * SMALL)
        lifecycle.cancel(tasks, NOW)
        operation_id = start(Action.RETRY)
        while operations.carry_on(operation_id):
            lifecycle.cancel(tasks, NOW)
        assert progress(Operation.objects.get()) == ("done", len(tasks), len(tasks), 0)

    def test_a_step_looks_at_a_bounded_part_of_the_table(self) -> None:
        """However few tasks match: a look for the next two must not go through a million others."""
        pending(20 * SMALL, name="other")
        operation_id = start(name="tag")
        steps = 0
        while operations.carry_on(operation_id):
            steps += 1
        # To count them and to change them, each with one that finds the end; the first was taken at the start.
        assert steps == 2 * (20 + 1) - 1
        assert Task.objects.filter(state="pending").count() == 20 * SMALL


@pytest.mark.django_db
class TestTheCount:
    def test_is_known_at_once_when_the_tasks_are_one_portion(self) -> None:
        pending(SMALL - 1)
        operation = Operation.objects.get(pk=start())
        assert (operation.counted_at, operation.total) == (NOW, SMALL - 1)

    def test_comes_before_any_change_when_they_are_more(self) -> None:
        tasks = pending(2 * SMALL)
        operation_id = start()
        while Operation.objects.get().counted_at is None:
            assert states(tasks) == ["pending"] * len(tasks)
            assert operations.carry_on(operation_id)
        assert Operation.objects.get().total == len(tasks)

    def test_is_of_those_that_the_action_can_change(self) -> None:
        ended, *_ = pending(2)
        lifecycle.cancel([ended], NOW)
        assert Operation.objects.get(pk=start()).total == 1
        assert Operation.objects.get(pk=start(Action.RETRY)).total == 1

    def test_has_those_that_ended_by_themselves_among_the_unchanged(self) -> None:
        worker = session()
        own, first, *_ = assigned(worker, 2), pending()
        operation_id = start()
        lifecycle.finish([done(worker, task_id) for task_id in own], NOW)
        assert progress(carry_out(operation_id)) == ("done", 3, 3, 2)
        assert states([*own, *first]) == ["succeeded", "succeeded", "cancelled"]

    def test_has_those_that_came_to_match_meanwhile_too(self) -> None:
        pending(1)
        [failed] = pending()
        lifecycle.cancel([failed], NOW)
        operation_id = start()
        lifecycle.retry([failed], NOW)
        assert progress(carry_out(operation_id)) == ("done", 2, 2, 0)


@pytest.mark.django_db
class TestWhereItIs:
    def test_is_in_the_row_so_that_any_process_goes_on_from_there(self) -> None:
        tasks = pending(SMALL - 1 + SMALL)
        operation_id = start()
        while Operation.objects.get().done == 0:
            assert operations.carry_on(operation_id)
        half_way = Operation.objects.get()
        assert half_way.done == states(sorted(tasks)).index("pending") == SMALL - 1
        assert half_way.position == sorted(tasks)[SMALL - 2]

    def test_does_not_move_when_a_step_fails(self, monkeypatch: pytest.MonkeyPatch) -> None:
        tasks = pending(2)
        operation_id = start()

        def fail(task_ids: list[UUID], now: Any) -> set[UUID]:
            lifecycle.cancel(task_ids, now)
            raise ZeroDivisionError

        with monkeypatch.context() as patched:
            patched.setitem(operations._VERBS, Action.CANCEL, fail)
            with pytest.raises(ZeroDivisionError), transaction.atomic():
                operations.carry_on(operation_id)
        assert states(tasks) == ["pending"] * 2
        assert progress(carry_out(operation_id)) == ("done", 2, 2, 0)


@pytest.fixture
def until_idle() -> Callable[[], None]:
    def join() -> None:
        for thread in threads():
            if thread.name == "operations":
                thread.join(60)
                assert not thread.is_alive()

    return join


@pytest.mark.django_db(transaction=True)
class TestInTheBackground:
    def test_the_tick_finds_what_nobody_carries_on(self, until_idle: Callable[[], None]) -> None:
        tasks = pending(2 * SMALL)
        start()
        maintenance.tick(database.now(), Watch(new_id()), activity.Books())
        until_idle()
        assert progress(Operation.objects.get()) == ("done", len(tasks), len(tasks), 0)
        assert states(tasks) == ["cancelled"] * len(tasks)

    def test_the_tick_does_nothing_of_it_itself(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Guard: the thread, for which a pass does not wait. With none running there is no statement more."""
        maintenance.tick(database.now(), Watch(new_id()), activity.Books())
        woken: list[bool] = []
        monkeypatch.setattr(background, "wake", lambda: woken.append(True))
        with CaptureQueriesContext(connection) as idle:
            maintenance.tick(database.now(), Watch(new_id()), activity.Books())
        start()
        with CaptureQueriesContext(connection) as busy:
            maintenance.tick(database.now(), Watch(new_id()), activity.Books())
        assert len(busy) == len(idle)
        assert woken == [True]

    def test_several_take_turns(self, monkeypatch: pytest.MonkeyPatch, until_idle: Callable[[], None]) -> None:
        pending(4 * SMALL)
        [small] = pending(name="other")
        large, little = start(name="tag"), start(name="other")
        turns: list[UUID] = []
        carry_on = operations.carry_on
        monkeypatch.setattr(operations, "carry_on", lambda each: turns.append(each) or carry_on(each))
        background.wake()
        until_idle()
        assert turns[:4] == [large, little] * 2
        assert states([small]) == ["cancelled"]
        assert {operation.state for operation in Operation.objects.all()} == {"done"}

    @pytest.mark.parametrize("error", [OperationalError, ZeroDivisionError])
    def test_one_that_fails_does_not_hold_up_another(
        self, monkeypatch: pytest.MonkeyPatch, until_idle: Callable[[], None], error: type[Exception]
    ) -> None:
        tasks = pending(2)
        bad, good = start(Action.RETRY), start()

        def fail(task_ids: Any, now: Any) -> set[UUID]:
            raise error

        lifecycle.cancel(pending(1, name="ended"), NOW)
        monkeypatch.setitem(operations._VERBS, Action.RETRY, fail)
        background.wake()
        until_idle()
        assert Operation.objects.get(pk=bad).state == "running"
        assert Operation.objects.get(pk=good).state == "done"
        assert states(tasks) == ["cancelled"] * 2
