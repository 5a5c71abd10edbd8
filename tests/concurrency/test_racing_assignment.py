"""Passes against each other, and against all that makes a task or a worker unfit to be assigned."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import pytest
from django.db import transaction

from queueapp import database, doorbell, lifecycle, naming, queues, sessions
from queueapp.domain.states import Outcome
from queueapp.doorbell import merged
from queueapp.inbox import Inbox
from queueapp.lifecycle.submitting import route_id_of
from queueapp.models import Task
from queueapp.passes import Outbox, Pass
from queueapp.sessions import Closing
from tests.concurrency.interleaving import BEFORE_COMMIT, Party, after, in_a_transaction, interleave
from tests.integration.fleet import holder_of, holders, submit
from tests.integration.rows import attempts, row

pytestmark = pytest.mark.django_db(transaction=True)

LOCKED_THE_SESSIONS = after("FROM queueapp_workersession")
CHANGED_THE_SESSION = after("UPDATE queueapp_workersession")
ASSIGNED = after("UPDATE queueapp_task")
"""The tasks are written and locked."""


def ids(assignments) -> list:
    return [assignment.task.task_id for assignment in assignments]


def dispatch(fleet):
    """The second half of a pass alone, without the empty transaction of the first."""
    dispatcher = fleet.process._dispatcher
    return lambda: ids(dispatcher.run_pass().assignments)


class TestTwoDispatchers:
    def test_one_free_slot_is_used_once(self, here, there):
        """Guard: the dispatch lock. Whoever comes second counts what the workers hold after he has it. They look
        at different tasks, so that no task's row decides."""
        [worker] = here.attach("task=t&_max_outstanding=1")
        there.run(roster=True)
        [first] = submit(attrs={"for": "here"})
        [second] = submit(attrs={"for": "there"})
        here.process._dispatcher.hear([route_id_of("t", {"for": "here"})])
        there.process._dispatcher.hear([route_id_of("t", {"for": "there"})])
        assert interleave(dispatch(here), ASSIGNED, dispatch(there)) == ([first], [])
        assert holders() == {worker: 1}
        assert holder_of(second) is None

    def test_one_decides_at_a_time(self, here, there):
        """Guard: the dispatch lock, before anything is read. There is no session here that could hold up one of
        them, yet the second waits: what will count tasks over all sessions may rely on it."""
        submit()
        here.process._dispatcher.hear([route_id_of("t", {})])
        there.process._dispatcher.hear([route_id_of("t", {})])
        with Party(dispatch(here), LOCKED_THE_SESSIONS) as one:
            one.until_it_stops()
            with Party(dispatch(there)) as other:
                other.until_it_waits()
                assert other.is_blocked()
                one.go_on()


class TestAssignmentAgainstTheEndOfItsSession:
    """Guards: who has a worker go, or take less, holds the dispatch lock meanwhile."""

    def close(self, worker):
        return self.elsewhere(closings=[Closing(worker, Outcome.LOST, 1006)])

    def elsewhere(self, **inbox):
        """As a pass of another process takes it in."""
        Pass(sessions.start_node(database.now()))._take_in(Inbox(**inbox), Outbox())

    def test_what_a_worker_was_given_as_it_went_is_given_back(self, here):
        """Guard: `passes._write` of an inbox with closings."""
        [worker] = here.attach("task=t")
        [task_id] = submit()
        here.process._dispatcher.hear([route_id_of("t", {})])
        assigned, _ = interleave(dispatch(here), ASSIGNED, lambda: self.close(worker))
        assert assigned == [task_id]
        assert row(task_id).state == "pending"
        assert attempts(task_id) == [(1, "lost")]

    def test_a_worker_that_goes_first_is_given_nothing(self, here):
        """Guard: the same, and that workers are looked at only under the lock."""
        [worker] = here.attach("task=t")
        [task_id] = submit()
        here.process._dispatcher.hear([route_id_of("t", {})])
        _, assigned = interleave(lambda: self.close(worker), CHANGED_THE_SESSION, dispatch(here))
        assert assigned == []
        assert row(task_id).state == "pending"

    def test_a_worker_that_is_draining_is_given_nothing_more(self, here):
        """Guard: `sessions.drain` holds the lock."""
        [worker] = here.attach("task=t")
        submit()
        here.process._dispatcher.hear([route_id_of("t", {})])
        drained, assigned = interleave(lambda: sessions.drain([worker]), BEFORE_COMMIT, dispatch(here))
        assert (drained, assigned) == ({worker}, [])

    def test_a_drain_is_over_only_when_the_pass_before_it_is(self, here):
        """Guard: the same: whoever drained sees what was given before."""
        [worker] = here.attach("task=t")
        submit()
        here.process._dispatcher.hear([route_id_of("t", {})])

        def drain():
            sessions.drain([worker])
            return holders()[worker]

        assert interleave(dispatch(here), ASSIGNED, drain)[1] == 1

    def test_no_more_is_given_than_a_capacity_that_has_just_been_lowered(self, here):
        """Guard: `passes._write` of an inbox with capacities."""
        [worker] = here.attach("task=t")
        submit(3)
        here.process._dispatcher.hear([route_id_of("t", {})])
        _, assigned = interleave(
            lambda: self.elsewhere(capacities=[(worker, 1)]), CHANGED_THE_SESSION, dispatch(here)
        )
        assert len(assigned) == 1


class TestAssignmentAgainstTheEndOfTheTask:
    @pytest.fixture
    def worker(self, here):
        return here.attach("task=t")[0]

    @pytest.fixture
    def task_id(self, here, worker):
        [task_id] = submit(expires_in=60)
        here.process._dispatcher.hear([route_id_of("t", {})])
        return task_id

    def cancel(self, task_id):
        return lifecycle.cancel([task_id], database.now())

    def expire(self):
        return lifecycle.expire(database.now() + timedelta(seconds=61))

    def test_a_task_cancelled_first_is_not_assigned(self, here, task_id):
        """Guard: the state in the WHERE of `assign`."""
        cancelled, assigned = interleave(lambda: self.cancel(task_id), BEFORE_COMMIT, dispatch(here))
        assert (cancelled, assigned) == ({task_id}, [])
        assert (row(task_id).state, row(task_id).attempt) == ("cancelled", 0)

    def test_a_task_assigned_first_is_cancelled_and_its_holder_told(self, here, worker, task_id, heard):
        """Guard: `cancel` locks (FOR UPDATE) before it looks who holds the task."""
        assigned, cancelled = interleave(dispatch(here), BEFORE_COMMIT, lambda: self.cancel(task_id))
        assert (assigned, cancelled) == ([task_id], {task_id})
        assert attempts(task_id) == [(1, "cancelled")]
        assert merged(heard).revoked == (doorbell.Revoked(worker, task_id, 1, "cancelled"),)

    def test_a_task_made_ready_anew_while_a_pass_waited_for_it_is_left_to_the_next_at_once(self, here, task_id):
        """Guard: `more` of the pass, which does not see the new version of a row that it waited for."""

        def cancel_and_retry():
            with transaction.atomic():
                self.cancel(task_id)
                lifecycle.retry([task_id], database.now())

        dispatcher = here.process._dispatcher
        _, result = interleave(cancel_and_retry, BEFORE_COMMIT, dispatcher.run_pass)
        assert (ids(result.assignments), result.more) == ([], True)
        assert ids(dispatcher.run_pass().assignments) == [task_id]

    def test_a_task_that_expired_first_is_not_assigned(self, here, task_id):
        """Guard: the state in the WHERE of `assign`."""
        expired, assigned = interleave(self.expire, BEFORE_COMMIT, dispatch(here))
        assert (expired, assigned) == (1, [])
        assert (row(task_id).state, row(task_id).attempt) == ("expired", 0)

    def test_a_task_assigned_first_does_not_expire(self, here, worker, task_id, heard):
        """Guard: `expire` locks (FOR UPDATE), so that `expired_by` is looked at again; else it tells producers of
        an end that was none."""
        assigned, expired = interleave(dispatch(here), BEFORE_COMMIT, self.expire)
        assert (assigned, expired) == ([task_id], 0)
        assert holder_of(task_id) == worker
        assert merged(heard).ended == set()


class TestAttachAgainstSubmit:
    """The rings are those of the verbs: `Fleet` hands them to the next pass."""

    @pytest.fixture(autouse=True)
    def queue(self):
        """Who makes a queue's row holds up whoever needs it too; here nothing may do so."""
        naming.make_queues(["t"])

    def test_a_task_submitted_while_its_worker_attaches_is_assigned_by_that_pass(self, here):
        """Guard: a new profile reads its routes from the rows (`_rematch`), after the attachment is committed.
        That the doorbell rings is not needed: the ring comes too late for this pass."""
        workers, task_ids = interleave(lambda: here.attach("task=t"), BEFORE_COMMIT, submit)
        assert [holder_of(task_id) for task_id in task_ids] == workers

    def test_a_task_committed_after_its_worker_has_looked_is_assigned_by_the_next_pass(self, here):
        """Guard: the doorbell rings after the commit, not before: a pass that heard of the route earlier would
        find nothing and forget it."""
        committing = partial(in_a_transaction, submit)
        task_ids, workers = interleave(committing, BEFORE_COMMIT, lambda: here.attach("task=t"))
        assert not holders()
        here.run()
        assert [holder_of(task_id) for task_id in task_ids] == workers

    def test_a_task_committed_while_the_pass_looks_is_assigned_by_the_next_pass(self, here):
        """Guard: as before."""
        workers, task_ids = interleave(lambda: here.attach("task=t"), after("FROM queueapp_route"), submit)
        here.run()
        assert [holder_of(task_id) for task_id in task_ids] == workers

    def test_the_slow_poll_finds_it_when_the_ring_is_lost(self, here):
        """Guard: `Dispatcher.poll`."""
        committing = partial(in_a_transaction, submit)
        task_ids, workers = interleave(committing, BEFORE_COMMIT, lambda: here.attach("task=t"))
        here.process.run(Inbox(tick=True))
        assert [holder_of(task_id) for task_id in task_ids] == workers


class TestPauseAgainstAPass:
    @pytest.fixture
    def task_id(self, here):
        here.attach("task=t")
        [task_id] = submit()
        here.process._dispatcher.hear([route_id_of("t", {})])
        return task_id

    def pause(self):
        paused = queues.pause(["t"], "operator", "", database.now())
        return paused, Task.objects.assigned().count()

    def test_when_a_pause_returns_no_pass_assigns_any_more(self, here, task_id):
        """Guard: `queues._set_paused` takes the dispatch lock: it waits for the pass that has read `paused`."""
        assigned, (paused, seen) = interleave(dispatch(here), ASSIGNED, self.pause)
        assert paused == {"t"}
        assert seen == len(assigned), "assigned after the pause had returned"

    def test_a_pass_that_comes_second_assigns_nothing(self, here, task_id):
        """Guard: as before; the pass waits until the pause is there to be read."""
        _, assigned = interleave(self.pause, BEFORE_COMMIT, dispatch(here))
        assert assigned == []
        assert not holders()
