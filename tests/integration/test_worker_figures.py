"""What is noted of workers, in one row a batch, and what their own rows say of it after a tick."""

from __future__ import annotations

from datetime import datetime

import pytest
from rows import NOW, after, after_the_tick, assign, assigned, done, error, node, pending, session

from queueapp import lifecycle, maintenance
from queueapp.access import Watch
from queueapp.lifecycle import activity
from queueapp.models import Activity, WorkerSession
from tests.asking import asking

pytestmark = pytest.mark.django_db


def figures(worker: WorkerSession) -> tuple[int, int, int]:
    row = after_the_tick(worker)
    return row.done, row.errors, row.stale_results


def recent(worker: WorkerSession) -> tuple[int, int]:
    row = after_the_tick(worker)
    return row.ended_in_minute, row.ended_in_previous


def finish(worker: WorkerSession, count: int, seconds: float) -> None:
    reports = [done(worker, task_id) for task_id in assigned(worker, count)]
    assert lifecycle.finish(reports, after(seconds)) == ["accepted"] * count


class TestResults:
    def test_that_are_accepted_are_counted_by_what_they_say(self):
        worker, other = session(), session()
        tasks = assigned(worker, 4)
        lifecycle.finish([done(worker, tasks[0]), done(worker, tasks[1]), error(worker, tasks[2])], NOW)
        lifecycle.finish([done(worker, tasks[3])], NOW)
        assert (figures(worker), figures(other)) == ((3, 1, 0), (0, 0, 0))

    def test_that_are_stale_are_counted_apart(self):
        worker, other = session(), session()
        (task,) = assigned(worker)
        assert lifecycle.finish([done(other, task), done(worker, task), error(worker, task)], NOW) == [
            "stale",
            "accepted",
            "stale",
        ]
        assert (figures(worker), figures(other)) == ((1, 0, 1), (0, 0, 1))

    def test_are_counted_once_however_often_it_ticks(self):
        worker = session()
        finish(worker, 3, seconds=0)
        assert figures(worker) == figures(worker) == (3, 0, 0)

    def test_of_a_session_that_is_no_more_are_in_nobodys_way(self):
        gone, worker = session(), session()
        finish(gone, 1, seconds=0)
        finish(worker, 1, seconds=0)
        WorkerSession.objects.filter(pk=gone.pk).delete()
        assert figures(worker) == (1, 0, 0)
        assert not Activity.objects.exists()


class TestTheHotPath:
    """Guard: nothing there writes into the rows of sessions, which would cost as much as the tasks'."""

    def test_writes_one_row_for_all_the_workers_that_are_given_something(self):
        workers = [session() for _ in range(5)]
        with asking() as asked:
            for worker in workers:
                assign(pending(2), worker)
        assert not [sql for sql in asked if "UPDATE queueapp_workersession" in sql]
        assert Activity.objects.filter(kind=activity.GIVEN).count() == 5

    def test_writes_one_row_for_all_the_workers_whose_results_come(self):
        workers = [session() for _ in range(5)]
        reports = [done(worker, task_id) for worker in workers for task_id in assigned(worker, 2)]
        with asking() as asked:
            lifecycle.finish(reports, NOW)
        assert not [sql for sql in asked if "UPDATE queueapp_workersession" in sql]
        assert Activity.objects.filter(kind=activity.DONE).count() == 1
        assert [figures(worker) for worker in workers] == [(2, 0, 0)] * 5


class TestTheLastTwoMinutes:
    def test_are_counted_apart(self):
        worker = session()
        finish(worker, 3, seconds=0)
        finish(worker, 2, seconds=59)
        assert recent(worker) == (5, 0)
        finish(worker, 1, seconds=60)
        assert recent(worker) == (1, 5)

    def test_are_counted_apart_where_one_tick_writes_both(self):
        worker = session()
        finish(worker, 3, seconds=0)
        finish(worker, 1, seconds=60)
        assert recent(worker) == (1, 3)

    def test_of_the_minute_before_that_come_late_count_there(self):
        """As of a transaction that was under way while others of the next minute were written already."""
        worker = session()
        finish(worker, 3, seconds=60)
        assert recent(worker) == (3, 0)
        finish(worker, 2, seconds=59)
        assert recent(worker) == (3, 2)
        finish(worker, 1, seconds=-60)
        assert recent(worker) == (3, 2)
        assert figures(worker) == (6, 0, 0)

    def test_are_over_when_nothing_has_ended_for_longer(self):
        worker = session()
        finish(worker, 3, seconds=0)
        finish(worker, 1, seconds=180)
        assert recent(worker) == (1, 0)


class TestIdleSince:
    def test_is_the_last_time_it_was_given_a_task_or_finished_one(self):
        worker = session()
        (task,) = assigned(worker)
        lifecycle.finish([error(worker, task)], after(7))
        assert after_the_tick(worker).idle_since == after(7)

    def test_is_not_moved_by_a_stale_result(self):
        worker = session()
        (task,) = assigned(session())
        lifecycle.finish([done(worker, task)], after(7))
        assert after_the_tick(worker).idle_since == NOW

    def test_never_goes_back(self):
        """By the clocks of two processes one may be a little behind."""
        worker = session(idle_since=after(9))
        finish(worker, 1, seconds=5)
        assert after_the_tick(worker).idle_since == after(9)


class TestTheTick:
    def tick(self, books: activity.Books, now: datetime = NOW) -> None:
        maintenance.tick(now, Watch(node().pk), books)

    def test_writes_what_is_noted(self):
        worker = session()
        finish(worker, 2, seconds=0)
        self.tick(activity.Books())
        worker.refresh_from_db()
        assert (worker.done, Activity.objects.count()) == (2, 0)

    def test_asks_for_it_in_the_statement_that_asks_for_all(self):
        books = activity.Books()
        self.tick(books)
        with asking() as asked:
            self.tick(books)
        assert not [sql for sql in asked if sql.startswith("DELETE FROM queueapp_activity")]

    @pytest.mark.django_db(transaction=True)
    def test_goes_on_where_it_cannot_be_written(self, monkeypatch):
        """Guard: `Books` lets nothing out. The pass of the same tick would take in no results."""

        def fail() -> None:
            raise ValueError

        monkeypatch.setattr(activity, "write_noted", fail)
        worker = session()
        finish(worker, 1, seconds=0)
        self.tick(activity.Books())
        assert Activity.objects.exists()

    def test_writes_it_less_often_where_that_takes_long(self, monkeypatch):
        """Guard: `PAUSES`."""
        clock = [100.0]
        monkeypatch.setattr(activity, "monotonic", lambda: clock[0])
        write = activity.write_noted

        def slowly() -> None:
            write()
            clock[0] += 0.5

        monkeypatch.setattr(activity, "write_noted", slowly)
        monkeypatch.setattr(activity, "LONGEST_PAUSE_SECONDS", 100.0)
        books, worker = activity.Books(), session()
        for passed, number in [(0, 1), (24, 1), (2, 3)]:
            clock[0] += passed
            finish(worker, 1, seconds=0)
            books.tick()
            worker.refresh_from_db()
            assert worker.done == number
