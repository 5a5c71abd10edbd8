"""A worker that an operator has drained, and wants to work again."""

from __future__ import annotations

import pytest
from fleet import holder_of, submit

from queueapp import database, sessions
from queueapp.domain.states import Outcome
from queueapp.models import WorkerSession
from queueapp.sessions import Closing

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def worker(fleet):
    """Attached without the subprotocol: it hears of nothing but tasks."""
    (worker,) = fleet.attach("task=t&_max_outstanding=10")
    WorkerSession.objects.filter(pk=worker).update(v1=False)
    return worker


def state(worker) -> str:
    return WorkerSession.objects.values_list("state", flat=True).get(pk=worker)


class TestAWorkerThatDoesNotKnowOfItsDrain:
    def test_is_given_tasks_again(self, fleet, worker):
        sessions.drain([worker])
        (task,) = submit()
        fleet.run()
        assert state(worker) == "draining"
        assert sessions.resume([worker]) == {worker}
        fleet.run(roster=True)
        assert state(worker) == "online"
        assert holder_of(task) == worker

    def test_is_resumed_once(self, worker):
        sessions.drain([worker])
        assert sessions.resume([worker]) == {worker}
        assert sessions.resume([worker]) == set()

    def test_is_drained_anew_after_it_was_resumed(self, worker):
        for _ in range(2):
            assert sessions.drain([worker]) == {worker}
            assert sessions.resume([worker]) == {worker}


class TestNobodyResumes:
    def test_one_that_leaves_by_its_own_word(self, fleet, worker):
        fleet.run(drains=[worker])
        assert sessions.resume([worker]) == set()
        assert state(worker) == "draining"

    def test_one_that_said_so_after_it_was_drained(self, fleet, worker):
        sessions.drain([worker])
        fleet.run(drains=[worker])
        assert sessions.resume([worker]) == set()

    def test_one_that_said_so_before_it_was_drained(self, fleet, worker):
        fleet.run(drains=[worker])
        assert sessions.drain([worker]) == set()
        assert sessions.resume([worker]) == set()

    @pytest.mark.parametrize("v1", [True, None])
    def test_one_that_was_told_or_may_have_been(self, worker, v1):
        WorkerSession.objects.filter(pk=worker).update(v1=v1)
        sessions.drain([worker])
        assert sessions.resume([worker]) == set()

    def test_one_that_is_gone(self, worker):
        sessions.drain([worker])
        sessions.close([Closing(worker, Outcome.LOST, 1006, "")], database.now())
        assert sessions.resume([worker]) == set()
        assert state(worker) == "gone"
