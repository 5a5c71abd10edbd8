"""How queues stand: what is counted, where counting ends, and from which indexes it is read."""

from __future__ import annotations

from datetime import datetime

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from plans import analyse, plans_of
from rows import NOW, after, assigned, error, pending, session

from queueapp import lifecycle, queues, standing
from queueapp.models import Queue, Subscription

pytestmark = pytest.mark.django_db


def stands(name: str = "tag", now: datetime = NOW) -> standing.Standing:
    return standing.standing(Queue.objects.get(pk=name), now)[0]


def offering(*names: str, **fields: object):
    worker = session(**fields)
    for name in names:
        Subscription.objects.create(session=worker, name=name)
    return worker


class TestAQueue:
    def test_says_what_waits_is_assigned_and_works(self):
        assigned(offering("tag"), 2)
        pending(3, attrs={"cloud": "aws"})
        pending(1, delay=60)
        pending(5, name="other")
        found = stands()
        assert (found.waiting, found.is_exact, found.assigned, found.workers) == (3, True, 2, 1)
        assert found.oldest_since == NOW

    def test_has_the_health_that_the_overview_says(self):
        pending(1)
        assert stands().health == "no worker"
        offering("tag")
        assert [stands().health, stands(now=after(10)).health] == ["flows", "waits"]
        queues.pause(["tag"], "ada", "", NOW)
        assert stands().health == "paused"

    def test_counts_no_worker_that_is_draining(self):
        pending(1)
        offering("tag", state="draining")
        assert stands().workers == 0

    def test_says_how_many_wait_behind_others_of_their_key(self):
        first, *_ = pending(3, concurrency_key="k")
        lifecycle.mark([first], [])
        assert standing.held_back("tag") == 2

    def test_says_so_where_counting_has_ended(self, monkeypatch):
        monkeypatch.setattr(standing, "ROUTES_LOOKED_AT", 3)
        for number in range(3):
            pending(1, attrs={"n": str(number)})
        found = stands()
        assert (found.waiting, found.is_exact) == (3, False)

    def test_shows_the_routes_in_which_most_waits_first_and_why(self):
        offering("tag")
        pending(1, attrs={"n": "1"})
        pending(4, attrs={"n": "2"})
        queues.pause(["tag"], "ada", "upstream is down", NOW)
        _, waiting = standing.standing(Queue.objects.get(pk="tag"), NOW)
        first, second = standing.why_it_waits(waiting, after(10))
        assert [first.route.waiting, second.route.waiting] == [4, 1]
        assert "upstream is down" in first.why

    def test_shows_what_went_wrong_in_the_last_hour(self):
        worker = session()
        old, other, new = (*assigned(worker, 1), *assigned(worker, 1, name="other"), *assigned(worker, 1))
        lifecycle.finish([error(worker, old, "old")], after(0))
        lifecycle.finish([error(worker, other, "other")], after(3000))
        lifecycle.finish([error(worker, new, "new")], after(3000))
        found = standing.mishaps("tag", after(3700))
        assert [(each.task_id, each.outcome, each.error) for each in found] == [(new, "error", "new")]

    def test_is_released_without_a_word_there(self):
        worker = session()
        lifecycle.release([(worker.id, *assigned(worker, 1))], NOW)
        assert standing.mishaps("tag", NOW) == []


def test_many_queues_take_as_many_queries_as_one():
    def asked() -> int:
        with CaptureQueriesContext(connection) as ran:
            standing.standings(list(Queue.objects.all()), NOW)
        return len(ran)

    pending(1)
    few = asked()
    for number in range(20):
        pending(1, name=f"name{number}")
    assert asked() == few


@pytest.mark.only_on("sqlite", reason="plans are read as SQLite writes them")
class TestPlans:
    @pytest.fixture(autouse=True)
    def rows(self):
        worker = offering("tag")
        assigned(worker, 3)
        for number in range(20):
            pending(5, attrs={"n": str(number)})
        pending(20, concurrency_key="k")
        analyse()

    def plans(self, question) -> str:
        return "\n".join(plans_of(question))

    def test_no_table_of_tasks_is_looked_through(self):
        queue = Queue.objects.get(pk="tag")
        plans = self.plans(lambda: (standing.standing(queue, NOW), standing.standings([queue], NOW)))
        assert "SCAN task" not in plans, plans
        assert "SCAN queueapp_task\n" not in plans + "\n", plans
        assert "INDEX task_ready (route_id=?)" in plans, plans
        assert "INDEX task_holder" in plans, plans

    def test_those_held_back_come_from_task_line(self):
        plans = self.plans(lambda: standing.held_back("tag"))
        assert "INDEX task_line" in plans, plans

    def test_what_went_wrong_is_looked_for_in_the_latest_attempts_only(self):
        plans = self.plans(lambda: standing.mishaps("tag", NOW))
        assert "SEARCH task" in plans, plans
        assert "SCAN queueapp_attempt\n" in plans, plans  # by its id, backwards, up to the limit
