"""What is over is deleted when it was kept long enough; what lives is not, however old it is."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings as project_settings
from django.db import OperationalError, connection
from django.db.models import Model
from fleet import Fleet
from rows import NOW, a_round_of_retention, after, assign, assigned, done, error, node, pending, row, session

from queueapp import audit, callbacks, database, lifecycle, operations, retention, sessions
from queueapp.callbacks import Result
from queueapp.domain.states import Action, Outcome
from queueapp.models import Attempt, AuditEntry, Delivery, Node, Operation, Subscription, Task, WorkerSession
from queueapp.retention import KINDS, Retention
from queueapp.sessions import Closing

pytestmark = pytest.mark.django_db

DAY = 86_400
URL = "https://hooks.example/tasks"
ALL = (Task, Attempt, Delivery, Operation, WorkerSession, Subscription, Node, AuditEntry)


@pytest.fixture(autouse=True)
def _kept_for_days(settings: Any) -> None:
    settings.WORKQUEUE = replace(
        project_settings.WORKQUEUE,
        task_retention_days=7,
        callback_retention_days=2,
        operation_retention_days=3,
        worker_retention_days=4,
        audit_retention_days=5,
    )


@pytest.fixture
def small_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "FIRST_SIZE", 2)
    monkeypatch.setattr(retention, "LARGEST_SIZE", 2)
    monkeypatch.setattr(retention, "SLOW_SECONDS", math.inf)  # they stay as large, whatever else the machine does


def prune(days: float) -> None:
    """A round, so many days after all that is over was."""
    a_round_of_retention(after(days * DAY))


def numbers() -> dict[str, int]:
    return {model.__name__: count for model in ALL if (count := model._default_manager.count())}


def ended(count: int = 1, **members: Any) -> list[UUID]:
    tasks = pending(count, **members)
    assert lifecycle.cancel(tasks, NOW) == set(tasks)
    return tasks


def delivered() -> None:
    ended(callback_url=URL)
    (delivery,) = callbacks.claim(1, {}, NOW)
    callbacks.settle([Result(delivery.id, 1, NOW, 200)], NOW)


def given_up() -> None:
    ended(callback_url=URL)
    (delivery,) = callbacks.claim(1, {}, NOW)
    callbacks.settle([Result(delivery.id, 1, NOW, 410, "gone")], NOW)


def operated() -> None:
    operation(Action.CANCEL)
    operations.carry_on(Operation.objects.get().pk)
    Operation.objects.update(finished_at=NOW)


def operation(action: Action) -> UUID:
    unbound: dict[str, Any] = {"tasks_of": None, "names": None, "asked_by": "a test"}
    return operations.start(action, {"name": "tag"}, **unbound, now=NOW).id


def gone() -> None:
    worker = session()
    Subscription.objects.create(session=worker, name="tag")
    sessions.close([Closing(worker.id, Outcome.LOST, 1006)], NOW)


def stopped() -> None:
    sessions.stop_node(node().id, NOW)


def acted() -> None:
    audit.record(audit.Actor("somebody"), "pause", kind="queue")
    AuditEntry.objects.update(at=NOW)


class TestWhatIsOver:
    @pytest.mark.parametrize(
        ("make", "model", "days"),
        [
            (ended, Task, 7),
            (delivered, Delivery, 2),
            (given_up, Delivery, 2),
            (operated, Operation, 3),
            (gone, WorkerSession, 4),
            (stopped, Node, 4),
            (acted, AuditEntry, 5),
        ],
        ids=["task", "delivered", "given up", "operation", "session", "process", "audit entry"],
    )
    def test_is_kept_for_as_long_as_its_setting_says(
        self, make: Callable[[], Any], model: type[Model], days: float
    ) -> None:
        make()
        prune(days - 0.1)
        assert numbers()[model.__name__] == 1
        prune(days + 0.1)
        assert model.__name__ not in numbers()

    def test_is_kept_for_ever_where_the_setting_is_0(self, settings: Any) -> None:
        for make in (delivered, operated, gone, stopped, acted):
            make()
        lasting = {f"{kind}_retention_days": 0.0 for kind in ("task", "callback", "operation", "worker", "audit")}
        settings.WORKQUEUE = replace(project_settings.WORKQUEUE, **lasting)
        before = numbers()
        prune(100_000)
        assert numbers() == before

    def test_takes_what_belongs_to_it_along(self) -> None:
        worker = session()
        (task_id,) = assigned(worker, retry_on=["error"], callback_url=URL)
        lifecycle.finish([error(worker, task_id)], NOW)
        Task.objects.update(delayed_until=None)
        assign([task_id], worker)
        assert lifecycle.finish([done(worker, task_id)], NOW) == ["accepted"]
        (delivery,) = callbacks.claim(1, {}, NOW)
        callbacks.settle([Result(delivery.id, 1, NOW, 200)], NOW)
        assert numbers() == {"Task": 1, "Attempt": 2, "Delivery": 1, "WorkerSession": 1, "Node": 1}
        assert lifecycle.prune([task_id], NOW) == {task_id}
        assert numbers() == {"WorkerSession": 1, "Node": 1}

    def test_is_found_behind_any_number_that_lives_on(self, small_portions: None) -> None:
        living = pending(5)
        ended(5)
        prune(8)
        assert set(Task.objects.values_list("id", flat=True)) == set(living)

    def test_is_a_process_only_once_its_sessions_are_forgotten(self) -> None:
        gone()
        sessions.stop_node(Node.objects.get().id, NOW)
        WorkerSession.objects.update(gone_at=after(DAY))
        prune(4.5)
        assert numbers() == {"WorkerSession": 1, "Subscription": 1, "Node": 1}
        prune(5.5)
        assert numbers() == {}

    @pytest.mark.django_db(transaction=True)
    def test_of_one_kind_does_not_stay_because_another_fails(self) -> None:
        ended()
        acted()

        def fail(execute: Any, sql: str, parameters: Any, many: bool, context: Any) -> Any:
            if "queueapp_task" in sql:
                raise OperationalError("canceling statement due to lock timeout")
            return execute(sql, parameters, many, context)

        with connection.execute_wrapper(fail):
            prune(8)
        assert numbers() == {"Task": 1}


class TestWhatLives:
    def test_is_never_touched(self) -> None:
        worker = session()
        Subscription.objects.create(session=worker, name="tag")
        assigned(worker)
        pending()
        pending(delay=60)
        operation(Action.RETRY)
        Operation.objects.update(action="cancel", state="running", finished_at=None)
        content = {model: list(model._default_manager.values()) for model in ALL}
        assert set(numbers()) == {"Task", "Operation", "WorkerSession", "Subscription", "Node"}
        prune(1000)
        assert {model: list(model._default_manager.values()) for model in ALL} == content

    def test_is_a_task_of_which_a_callback_is_owed(self) -> None:
        (task_id,) = ended(callback_url=URL)
        prune(1000)
        assert numbers() == {"Task": 1, "Delivery": 1}
        (delivery,) = callbacks.claim(1, {}, NOW)
        assert delivery.task_id == task_id
        callbacks.settle([Result(delivery.id, 1, NOW, 200)], NOW)
        prune(1000)
        assert numbers() == {}

    def test_is_a_task_that_was_retried_meanwhile(self) -> None:
        (task_id,) = ended()
        lifecycle.retry([task_id], NOW)
        assert lifecycle.prune([task_id], after(1000 * DAY)) == set()
        assert row(task_id).state == "pending"


class TestTheLog:
    def test_is_read_from_its_oldest_to_the_first_that_is_kept(self, small_portions: None) -> None:
        for _ in range(10):
            audit.record(audit.Actor("somebody"), "pause", kind="queue")
        oldest = AuditEntry.objects.order_by("id").values("id")[:3]
        AuditEntry.objects.update(at=after(4 * DAY))
        AuditEntry.objects.filter(pk__in=list(oldest.values_list("id", flat=True))).update(at=NOW)
        read: list[str] = []

        def note(execute: Any, sql: str, parameters: Any, many: bool, context: Any) -> Any:
            if sql.startswith("SELECT") and "queueapp_auditentry" in sql and "LIMIT" in sql:
                read.append(sql)
            return execute(sql, parameters, many, context)

        with connection.execute_wrapper(note):
            prune(6)
        assert AuditEntry.objects.count() == 7
        assert len(read) == 3


class TestATick:
    def test_begins_a_round_now_and_then_and_goes_on_with_it(
        self, small_portions: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(retention, "SECONDS_A_TICK", 0.0)
        monkeypatch.setattr(retention, "KINDS", KINDS[:1])
        ended(5)
        kept = Retention()
        left = []
        later = after(8 * DAY)
        for seconds in (0, 1, 600, 601, 602, 603):
            kept.tick(later + timedelta(seconds=seconds))
            left.append(Task.objects.count())
        assert left == [5, 5, 3, 1, 0, 0]

    def test_of_a_process_prunes(self, fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(retention, "ROUND_EVERY", timedelta())
        monkeypatch.setattr(retention, "SECONDS_A_TICK", math.inf)
        acted()
        AuditEntry.objects.update(at=database.now() - timedelta(days=6))
        fleet.run(tick=True)
        fleet.run(tick=True)
        assert not AuditEntry.objects.exists()
