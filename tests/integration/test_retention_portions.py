"""What is over is deleted in portions that take little time, whatever their rows weigh."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings as project_settings
from django.db import connection
from rows import NOW, after, pending, session

from queueapp import lifecycle, retention, sessions
from queueapp.database import is_postgresql
from queueapp.domain.states import Outcome
from queueapp.models import Delivery, Subscription, Task, WorkerSession
from queueapp.retention import KINDS, Sweep
from queueapp.sessions import Closing
from tests.endless import endless

LATER = after(8 * 86_400)


@pytest.fixture(autouse=True)
def _kept_for_a_week(settings: Any) -> None:
    settings.WORKQUEUE = replace(project_settings.WORKQUEUE, task_retention_days=7, worker_retention_days=7)


def sweep_of(model: type) -> Sweep:
    return Sweep(next(kind for kind in KINDS if kind.model is model))


def go_over(sweep: Sweep) -> None:
    for _ in sweep.round(LATER):
        pass


@pytest.mark.django_db
class TestTheSizeOfAPortion:
    @pytest.fixture
    def sweep(self) -> Sweep:
        return sweep_of(Task)

    def sizes(self, sweep: Sweep, monkeypatch: pytest.MonkeyPatch, took: Iterable[float]) -> list[int]:
        """Of portions that took so long each, in a round."""
        sizes: list[int] = []
        durations = iter(took)
        now = 0.0

        def pass_time(execute: Any, sql: str, parameters: Any, many: bool, context: Any) -> Any:
            nonlocal now
            if limit := re.search(r"LIMIT (\d+)", sql):
                sizes.append(int(limit[1]))
                now += next(durations)
            return execute(sql, parameters, many, context)

        monkeypatch.setattr(retention, "monotonic", lambda: now)
        with connection.execute_wrapper(pass_time):
            for _, _ in zip(took, sweep.round(LATER), strict=False):
                pass
        return sizes

    def test_is_small_first_then_what_is_done_in_time(self, sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
        pending(300)
        took = [0.001, 0.001, 0.03, 0.06, 0.2, 0.2, 0.009, 0.02]
        assert self.sizes(sweep, monkeypatch, took) == [20, 40, 80, 80, 20, 5, 1, 2]

    def test_has_a_bound_and_is_kept_for_the_next_round(
        self, sweep: Sweep, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(retention, "LARGEST_SIZE", 30)
        pending(60)
        assert self.sizes(sweep, monkeypatch, [0.0] * 4) == [20, 30, 30, 30]
        assert self.sizes(sweep, monkeypatch, [0.0] * 2) == [30, 30]


@pytest.mark.django_db(transaction=True)
class TestAPortionThatTakesTooLong:
    @pytest.fixture(autouse=True)
    def impatient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        if not is_postgresql():
            monkeypatch.setattr(retention, "STATEMENT_SECONDS", 0.3)

    @pytest.fixture
    def tasks(self) -> list[UUID]:
        """Ended, with callbacks that were delivered."""
        tasks = sorted(pending(20, callback_url="https://hooks.example/"))
        lifecycle.cancel(tasks, NOW)
        Delivery.objects.update(state="delivered", next_attempt_at=None, ended_at=NOW)
        return tasks

    @staticmethod
    def stuck(statement: str, is_so: Any) -> AbstractContextManager[None]:
        """Instead of the statement, with parameters for which that holds, one runs that has no end."""
        return endless(lambda sql, given: statement in sql.replace('"', "") and is_so(given))

    def test_is_undone_as_a_whole_and_begun_again_with_fewer(self, tasks: list[UUID]) -> None:
        with self.stuck("DELETE FROM queueapp_task", lambda given: len(json.loads(given[0])) > 5):
            rest = sweep_of(Task).round(LATER)
            next(rest)
            assert (Task.objects.count(), Delivery.objects.count()) == (20, 20)
            next(rest)
            assert (Task.objects.count(), Delivery.objects.count()) == (15, 15)

    def test_is_of_sessions_with_all_that_they_subscribed_to(self) -> None:
        for _ in range(6):
            worker = session()
            Subscription.objects.create(session=worker, name="tag")
            sessions.close([Closing(worker.id, Outcome.LOST, 1006)], NOW)
        with self.stuck("DELETE FROM queueapp_subscription", lambda given: len(given) > 5):
            rest = sweep_of(WorkerSession).round(LATER)
            next(rest)
            assert (WorkerSession.objects.count(), Subscription.objects.count()) == (6, 6)
            next(rest)
            assert (WorkerSession.objects.count(), Subscription.objects.count()) == (1, 1)

    def test_with_a_single_row_is_passed_by_until_later(self, tasks: list[UUID]) -> None:
        sweep = sweep_of(Task)
        with self.stuck("DELETE FROM queueapp_task", lambda given: tasks[3].hex in given[0].replace("-", "")):
            go_over(sweep)
            assert tasks[3:] == list(Task.objects.order_by("id").values_list("id", flat=True))
            go_over(sweep)
            assert list(Task.objects.values_list("id", flat=True)) == [tasks[3]]
        go_over(sweep)
        assert not Task.objects.exists()
