"""What was counted, an interval a row: of several processes, over restarts, and what it costs."""

from __future__ import annotations

from datetime import datetime

import pytest
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from fleet import Fleet
from plans import analyse, plans_of
from rows import NOW, after, assigned, done, error, pending, session

from queueapp import lifecycle, rollups
from queueapp.domain import spreads
from queueapp.models import Node, Rollup
from queueapp.rollups import PRUNE_EVERY, Counted, Rollups, history

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def node():
    return session().node


def row(interval_seconds: int, begins_at: datetime = NOW) -> Rollup:
    return Rollup.objects.get(interval_seconds=interval_seconds, begins_at=begins_at)


class TestAProcess:
    def test_writes_what_it_counted_into_a_row_of_each_length(self, node):
        counting = Rollups(node.id)
        counting.tick(after(1))
        worker = session()
        good, bad, held = assigned(worker, 3)
        lifecycle.finish([done(worker, good)], after(2))
        lifecycle.finish([error(worker, bad)], after(4))
        lifecycle.cancel([held], after(5))
        counting.tick(after(9))
        assert not Rollup.objects.exists()
        counting.tick(after(10))
        for seconds in (10, 60, 3600):
            written = row(seconds)
            assert (written.submitted, written.finished, written.failed) == (3, 3, 1)
            assert written.waits == {"0": 3}
            ends = spreads.from_json(written.ends)
            assert 1.5 < spreads.quantile(ends, 0.5) <= 2.9
            assert 2.8 < spreads.quantile(ends, 0.95) <= 4.1

    def test_puts_what_follows_into_the_next_row_and_adds_it_to_the_longer_ones(self, node):
        counting = Rollups(node.id)
        counting.tick(after(1))
        pending(2)
        counting.tick(after(10))
        pending(3)
        counting.tick(after(20))
        assert [row(10).submitted, row(10, after(10)).submitted] == [2, 3]
        assert row(60).submitted == row(3600).submitted == 5

    def test_writes_the_last_of_it_when_it_ends(self, node):
        counting = Rollups(node.id)
        counting.tick(after(1))
        pending(2)
        counting.end(after(3))
        assert row(10).submitted == 2

    def test_counts_what_it_did_before_its_first_tick_too(self, node):
        """Requests are answered while it enters as a node."""
        counted_before = Counted.so_far()
        pending(2)
        counting = Rollups(node.id, counted_before)
        pending(3)
        counting.end(after(1))
        assert row(10).submitted == 5

    def test_sees_how_many_wait_and_for_how_long(self, node):
        counting = Rollups(node.id)
        counting.tick(after(1))
        pending(2, attrs={"n": "1"})
        pending(3)
        pending(4, delay=3600)
        counting.tick(after(30))
        assert row(10).waiting == 5
        assert row(10).oldest_wait_seconds == pytest.approx(30, abs=0.01)

    def test_whose_write_failed_writes_it_with_the_next(self, node, monkeypatch):
        counting = Rollups(node.id)
        counting.tick(after(1))
        pending(2)
        write = rollups._write
        monkeypatch.setattr(rollups, "_write", failing_after(write))
        counting.tick(after(10))
        monkeypatch.setattr(rollups, "_write", write)
        pending(1)
        counting.tick(after(11))
        counting.tick(after(20))
        # Stored though the answer was lost, and stored again: counted once.
        assert row(60).submitted == 3

    def test_deletes_what_was_kept_long_enough(self, node):
        for age_seconds, seconds in ((3700, 10), (3500, 10), (3700, 60), (3 * 86400, 60), (32 * 86400, 3600)):
            stored(node, seconds, after(-age_seconds))
        counting = Rollups(node.id)
        counting.tick(after(1))
        counting.tick(after(1))
        counting.tick(after(PRUNE_EVERY.total_seconds() + 2))
        counting.tick(after(PRUNE_EVERY.total_seconds() + 3))
        left = Rollup.objects.filter(begins_at__lt=NOW).values_list("interval_seconds", "begins_at")
        assert set(left) == {(60, after(-3700))}


class TestSeveralProcesses:
    def test_add_up_and_one_that_has_restarted_overwrites_nothing(self, node):
        for number in (1, 2, 3):
            process = Node.objects.create(host="h", pid=number, started_at=NOW, lease_until=NOW)
            counting = Rollups(process.id)
            counting.tick(after(1))
            pending(number)
            counting.end(after(5))
        (point,) = history(10, NOW, 10)
        assert point.counted.submitted == 6
        assert Rollup.objects.filter(interval_seconds=10).count() == 3


class TestThePast:
    def test_is_put_together_into_steps_with_what_waited_most(self, node):
        stored(node, 60, after(0), submitted=1, waiting=3, waits={"4": 1})
        stored(node, 60, after(60), submitted=2, waiting=7, waits={"4": 1, "6": 2})
        stored(node, 60, after(120), submitted=4)
        first, second = history(60, after(30), 120)
        assert (first.counted.submitted, first.waiting, first.counted.waits) == (3, 7, {4: 2, 6: 2})
        assert (second.begins_at, second.counted.submitted) == (after(120), 4)


class TestTheTick:
    def test_of_an_idle_process_costs_one_statement_in_ten_seconds(self, node):
        counting = Rollups(node.id)
        statements = [statements_of(lambda: counting.tick(after(at))) for at in range(1, 62)]  # noqa: B023
        assert sum(statements) == 6
        assert max(statements) == 1

    def test_is_the_passes(self):
        process = Fleet()
        process.run(tick=True)
        pending(2)
        process.process.end()
        assert Rollup.objects.filter(interval_seconds=10).latest("begins_at").submitted == 2


def stored(node: Node, seconds: int, begins_at: datetime, **counted: object) -> None:
    nothing = {"submitted": 0, "finished": 0, "failed": 0, "waiting": 0, "oldest_wait_seconds": 0}
    values = {**nothing, "waits": {}, "ends": {}, **counted}
    Rollup.objects.create(interval_seconds=seconds, begins_at=begins_at, node=node, **values)


def statements_of(act) -> int:
    with CaptureQueriesContext(
        connection,
    ) as asked:
        act()
    return len(asked)


def failing_after(write):
    """As a connection that breaks after the commit."""

    def fails(*arguments):
        write(*arguments)
        raise OperationalError("the connection is gone")

    return fails


@pytest.mark.only_on("sqlite", reason="plans are read as SQLite writes them")
def test_nothing_is_counted_by_looking_through_the_tasks(node):
    pending(50)
    lifecycle.cancel(pending(50, attrs={"n": "1"}), NOW)
    analyse()
    counting = Rollups(node.id)
    counting.tick(after(1))
    [plan] = plans_of(lambda: counting.tick(after(10)))
    of_tasks = [step for step in plan.splitlines() if "task" in step]
    assert of_tasks
    assert all("INDEX task_ready (" in step for step in of_tasks), plan
