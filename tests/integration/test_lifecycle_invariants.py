"""What the database itself refuses, whoever writes; and that news leave after the commit only."""

from __future__ import annotations

import pytest
from django.db import IntegrityError, transaction
from django.db.models import F
from rows import NOW, after, assigned, done, error, pending, session, submission

from queueapp import doorbell, lifecycle
from queueapp.domain.states import Outcome
from queueapp.models import Attempt, Task, WorkerSession

LIVE, TERMINAL = ["pending", "assigned"], ["succeeded", "failed", "cancelled", "expired"]


def in_state(state: str) -> Task:
    """A task that has come to the state by the verbs."""
    worker = session()
    (task_id,) = pending(expires_in=60)
    match state:
        case "assigned":
            (task_id,) = assigned(worker)
        case "succeeded":
            (task_id,) = assigned(worker)
            lifecycle.finish([done(worker, task_id)], NOW)
        case "failed":
            (task_id,) = assigned(worker)
            lifecycle.finish([error(worker, task_id)], NOW)
        case "cancelled":
            lifecycle.cancel([task_id], NOW)
        case "expired":
            lifecycle.expire(after(60))
    task = Task.objects.get(pk=task_id)
    assert task.state == state
    return task


def refused(task: Task, constraint: str, **update: object) -> None:
    with pytest.raises(IntegrityError, match=constraint), transaction.atomic():
        Task.objects.filter(pk=task.pk).update(**update)


@pytest.mark.django_db
class TestTheDatabaseRefuses:
    @pytest.mark.parametrize("state", LIVE)
    def test_a_finished_at_in_a_live_state(self, state):
        refused(in_state(state), "task_finished_at_iff_terminal", finished_at=NOW)

    @pytest.mark.parametrize("state", TERMINAL)
    def test_no_finished_at_in_a_terminal_state(self, state):
        refused(in_state(state), "task_finished_at_iff_terminal", finished_at=None)

    def test_an_assigned_task_without_a_worker(self):
        refused(in_state("assigned"), "task_worker_iff_assigned", worker=None)

    @pytest.mark.parametrize("state", ["pending", *TERMINAL])
    def test_a_worker_where_nothing_is_assigned(self, state):
        refused(in_state(state), "task_worker_iff_assigned", worker=session())

    def test_an_assigned_task_without_a_deadline(self):
        refused(in_state("assigned"), "task_deadline_iff_assigned", deadline=None)

    @pytest.mark.parametrize("state", ["pending", *TERMINAL])
    def test_a_deadline_where_nothing_is_assigned(self, state):
        refused(in_state(state), "task_deadline_iff_assigned", deadline=NOW)

    @pytest.mark.parametrize("state", ["assigned", *TERMINAL])
    def test_a_delay_of_what_is_not_pending(self, state):
        refused(in_state(state), "task_delayed_only_pending", delayed_until=NOW)

    @pytest.mark.parametrize("state", [*LIVE, "failed", "cancelled", "expired"])
    def test_a_result_of_what_has_not_succeeded(self, state):
        refused(in_state(state), "task_result_only_succeeded", result="null")

    @pytest.mark.parametrize("state", [*LIVE, "succeeded", "cancelled", "expired"])
    def test_a_reason_for_what_has_not_failed(self, state):
        refused(in_state(state), "task_reason_iff_failed", reason="lost")

    def test_a_failure_without_a_reason(self):
        refused(in_state("failed"), "task_reason_iff_failed", reason="")

    def test_more_attempts_used_than_were_made(self):
        refused(in_state("assigned"), "task_attempts_used_were_made", attempts_used=F("attempt") + 1)

    def test_a_second_live_task_with_the_same_unique_key(self):
        pending(unique_key="k")
        (other,) = pending()
        with pytest.raises(IntegrityError), transaction.atomic():
            Task.objects.filter(pk=other).update(unique_key="k")

    def test_a_second_row_for_the_same_attempt(self):
        task = in_state("failed")
        kept = Attempt.objects.get(task=task)
        with pytest.raises(IntegrityError), transaction.atomic():
            Attempt.objects.create(
                task=task, number=kept.number, outcome="lost", assigned_at=NOW, ended_at=NOW, worker=None
            )

    @pytest.mark.parametrize(
        ("before", "update"),
        [
            ({}, {"gone_at": NOW}),
            ({}, {"state": "gone"}),
            ({"state": "gone", "gone_at": NOW}, {"state": "online"}),
        ],
    )
    def test_a_session_that_is_gone_at_no_time_or_here_and_gone(self, before, update):
        worker = session(**before)
        with pytest.raises(IntegrityError, match="session_gone_at_iff_gone"), transaction.atomic():
            WorkerSession.objects.filter(pk=worker.pk).update(**update)


@pytest.fixture
def heard():
    rings: list[doorbell.Ring] = []
    silence = doorbell.listen(rings.append)
    yield rings
    silence()


@pytest.mark.django_db(transaction=True)
class TestTheDoorbell:
    def test_rings_after_the_commit_and_not_before(self, heard):
        with transaction.atomic():
            (task_id,) = pending()
            assert heard == []
        assert [ring.routes for ring in heard] == [{Task.objects.get(pk=task_id).route_id}]

    def test_is_silent_after_a_rollback(self, heard):
        with transaction.atomic():
            (task_id,) = pending()
            transaction.set_rollback(True)
        assert heard == []
        assert not Task.objects.filter(pk=task_id).exists()

    def test_tells_what_each_verb_did(self, heard):
        def news() -> doorbell.Ring:
            merged = doorbell.merged(heard)
            heard.clear()
            return merged

        worker = session()
        first, second, third = assigned(worker, 3, timeout=30)
        routes = {Task.objects.get(pk=first).route_id}
        assert news().routes == routes
        lifecycle.finish([done(worker, first)], NOW)
        assert (told := news()).ended == {first}
        assert told.roster
        lifecycle.release([(worker.id, second)], NOW)
        assert (told := news()).routes == routes
        assert told.roster
        assert not told.ended
        lifecycle.time_out(after(30))
        assert (told := news()).revoked == (doorbell.Revoked(worker.id, third, 1, "timeout"),)
        assert told.routes == routes
        lifecycle.cancel([third], NOW)
        assert (told := news()).ended == {third}
        assert not told.revoked
        lifecycle.retry([third], NOW)
        assert news().routes == routes

    def test_tells_the_holder_that_its_task_was_cancelled(self, heard):
        worker = session()
        (task_id,) = assigned(worker)
        heard.clear()
        lifecycle.cancel([task_id], NOW)
        assert doorbell.merged(heard).revoked == (doorbell.Revoked(worker.id, task_id, 1, "cancelled"),)

    def test_tells_that_something_waits_for_a_time_and_when_that_has_come(self, heard):
        pending(delay=60)
        assert (doorbell.merged(heard).scheduled, doorbell.merged(heard).routes) == (True, frozenset())
        heard.clear()
        lifecycle.promote(after(60))
        assert len(doorbell.merged(heard).routes) == 1

    def test_tells_what_expired_and_what_was_lost_for_good(self, heard):
        (late,) = pending(expires_in=1)
        worker = session()
        (lost,) = assigned(worker, max_attempts=1)
        heard.clear()
        lifecycle.expire(after(1))
        lifecycle.rescue({worker.id: Outcome.LOST}, NOW)
        assert doorbell.merged(heard).ended == {late, lost}

    def test_is_silent_about_what_changed_nothing(self, heard):
        lifecycle.submit([], None, NOW)
        (task_id,) = pending(unique_key="k")
        heard.clear()
        lifecycle.submit([submission(unique_key="k")], None, NOW)
        lifecycle.finish([done(session(), task_id)], NOW)
        lifecycle.cancel([], NOW)
        lifecycle.retry([task_id], NOW)
        lifecycle.expire(NOW)
        lifecycle.promote(NOW)
        lifecycle.time_out(NOW)
        assert heard == []
