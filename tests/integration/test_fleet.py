"""The fleet that a dispatcher remembers: it is what the rows say, whoever has changed them and told nobody."""

from __future__ import annotations

from collections.abc import Iterator
from time import monotonic
from typing import Any

import pytest
from django.db import connection
from fleet import Fleet, holder_of, holders, submit
from plans import plans_of

from queueapp import database, lifecycle, sessions, statements
from queueapp.domain.choice import Chooser
from queueapp.domain.states import Outcome
from queueapp.fleet import OLDEST_SNAPSHOT
from queueapp.models import Task, WorkerSession
from queueapp.sessions import Closing

pytestmark = pytest.mark.django_db(transaction=True)

PATIENCE_SECONDS = 60.0


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    fleet = Fleet()
    yield fleet
    fleet.unlisten()


@pytest.fixture
def elsewhere() -> Iterator[Fleet]:
    """Another process."""
    fleet = Fleet()
    yield fleet
    fleet.unlisten()


def given_to(fleet: Fleet, **fields: Any) -> Any:
    """Who gets a task that is submitted now."""
    task = submit(**fields)[0]
    fleet.run()
    return holder_of(task)


class TestWithoutBeingTold:
    def test_a_session_that_has_gone_is_given_nothing(self, fleet):
        here, gone = fleet.attach("task=t", "task=t&cloud=aws")
        assert given_to(fleet, attrs={"cloud": "aws"}) == gone
        sessions.close([Closing(gone, Outcome.LOST, 1006)], database.now())
        assert given_to(fleet, attrs={"cloud": "aws"}) == here

    def test_a_session_that_drains_is_given_nothing(self, fleet):
        first, second = fleet.attach("task=t", "task=t")
        WorkerSession.objects.filter(pk=first).update(state="draining")
        assert [given_to(fleet) for _ in range(3)] == [second] * 3

    def test_one_that_came_as_another_went_is_the_most_specific(self, fleet, elsewhere):
        _, gone = fleet.attach("task=t", "task=t&cloud=aws")
        fleet.run(roster=True)
        (new,) = elsewhere.attach("task=t&cloud=aws&zone=a")
        elsewhere.detach(gone)
        assert given_to(fleet, attrs={"cloud": "aws", "zone": "a"}) == new

    def test_a_capacity_that_another_process_has_raised_is_used(self, fleet, elsewhere):
        (worker,) = fleet.attach("task=t&_max_outstanding=1")
        submit(3)
        fleet.run()
        elsewhere.process._dispatcher.forget()
        WorkerSession.objects.update(max_outstanding=2)
        fleet.run(roster=True)
        assert holders() == {worker: 2}

    def test_what_another_process_took_from_a_worker_is_room_again(self, fleet, elsewhere):
        (worker,) = fleet.attach("task=t&_max_outstanding=1")
        first, second = submit(2)
        fleet.run()
        assert elsewhere.finish(worker, first) == ["accepted"]
        fleet.run(roster=True)
        assert holder_of(second) == worker

    def test_what_was_taken_from_a_worker_that_did_nothing_itself_is_room_again(self, fleet):
        """Guard: the difference of held counts. To cancel a task leaves the row of its holder as it is."""
        (worker,) = fleet.attach("task=t&_max_outstanding=1")
        first, second = submit(2)
        fleet.run()
        fleet.run(roster=True)
        session = WorkerSession.objects.values().get()
        assert lifecycle.cancel([first], database.now()) == {first}
        assert WorkerSession.objects.values().get() == session
        fleet.run(roster=True)
        assert holder_of(second) == worker

    def test_what_another_process_gave_to_a_worker_counts(self, fleet, elsewhere):
        first, second = fleet.attach("task=t,u", "task=t")
        assert given_to(elsewhere, name="u") == first
        assert given_to(fleet) == second

    def test_a_row_that_changes_does_not_make_its_worker_idle_since_longer(self, fleet):
        """Guard: a row may be behind what was noted of its worker."""
        first, second = fleet.attach("task=t,u", "task=t")
        assert given_to(fleet, name="u") == first
        Task.objects.update(state="succeeded", worker=None, deadline=None, result="1", finished_at=database.now())
        until_nobody_is_at_work()
        fleet.run(roster=True)
        fleet.run(capacities=[(first, 99)])
        assert given_to(fleet) == second

    def test_a_pass_whose_choice_came_to_nothing_leaves_nothing_behind(self, fleet):
        """Assigned by nobody: the tasks were cancelled between the choice and the assignment."""
        first, _ = fleet.attach("task=t", "task=t")
        submit()
        chosen: list[Any] = []

        def cancel(execute: Any, sql: str, parameters: Any, many: bool, context: Any) -> Any:
            if "WITH choice" in sql and not chosen:
                chosen.append(sql)
                Task.objects.pending().update(state="cancelled", finished_at=database.now())
            return execute(sql, parameters, many, context)

        with connection.execute_wrapper(cancel):
            assert fleet.run().assignments == []
        assert chosen
        assert given_to(fleet) == first

    @pytest.mark.only_on("postgresql", reason="on SQLite each row is compared with what is remembered")
    def test_what_is_remembered_wrongly_is_read_anew_and_not_tried_for_ever(self, fleet, monkeypatch):
        """Guard: a fleet that was not as it was thought to be is forgotten. No way is known to such a one."""
        (worker,) = fleet.attach("task=t")
        remembered = fleet.process._dispatcher._fleet
        until_nobody_is_at_work()
        given_to(fleet)
        remembered._rows = {key: (key, 7, since) for key, _, since in remembered._rows.values()}
        tries: list[int] = []
        assign = lifecycle.assign

        def count(choices: Any, now: Any, capacities: Any) -> Any:
            tries.append(*set(capacities.values()))
            assert len(tries) < 5
            return assign(choices, now, capacities)

        monkeypatch.setattr(lifecycle, "assign", count)
        assert given_to(fleet) == worker
        assert tries == [7, 100]


def until_nobody_is_at_work() -> None:
    """Until all transactions have ended that were under way, those of other tests in other databases of the server
    among them: what was written since the oldest of them is read once more."""
    if connection.vendor == "postgresql":
        [(here,)] = statements.execute("SELECT pg_current_xact_id()::text::bigint")
        give_up_at = monotonic() + PATIENCE_SECONDS
        while statements.execute("SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint")[0][0] <= here:
            assert monotonic() < give_up_at, "Somebody is at work for ever."


class TestWhatAPassReads:
    @pytest.fixture
    def told(self, monkeypatch) -> list[int]:
        """Of how many workers the choice is told something, pass by pass."""
        numbers: list[int] = []
        update = Chooser.update

        def note(self: Any, loads: Any, gone: Any = ()) -> None:
            loads = list(loads)
            numbers.append(len(loads))
            update(self, loads, gone)

        monkeypatch.setattr(Chooser, "update", note)
        return numbers

    def test_is_who_has_changed_and_not_all_workers(self, fleet, told):
        fleet.attach(*["task=t"] * 100)
        given_to(fleet)
        told.clear()
        given_to(fleet)
        fleet.run(roster=True)
        assert told == [1, 1]

    @pytest.mark.only_on("postgresql", reason="on SQLite all rows are read, and those that have changed compared")
    def test_are_the_rows_that_have_changed(self, fleet):
        fleet.attach(*["task=t"] * 100)
        given_to(fleet)
        read: list[int] = []

        def count(execute: Any, sql: str, parameters: Any, many: bool, context: Any) -> Any:
            result = execute(sql, parameters, many, context)
            if "pg_snapshot_xmin" in sql:
                read.append(context["cursor"].rowcount)
            return result

        until_nobody_is_at_work()
        given_to(fleet)
        with connection.execute_wrapper(count):
            for _ in range(2):
                given_to(fleet)
        assert all(number < 10 for number in read), read


@pytest.mark.only_on("postgresql", reason="SQLite counts no transactions")
class TestAnOldSnapshot:
    @pytest.mark.parametrize(
        "further", [-(2 * OLDEST_SNAPSHOT + 5000), 5000], ids=["long ago", "of another server"]
    )
    def test_of_which_older_and_newer_cannot_be_told_is_not_used(self, fleet, further):
        """Guard: `OLDEST_SNAPSHOT`. As if two thousand million transactions had been since the last pass; or as if
        a server had taken over that had not seen the last ones."""
        (worker,) = fleet.attach("task=t&_max_outstanding=1")
        submit(2)
        fleet.run()
        remembered = fleet.process._dispatcher._fleet
        assert remembered._seen is not None
        remembered._seen += further
        WorkerSession.objects.update(max_outstanding=2)
        fleet.run(roster=True)
        assert holders() == {worker: 2}


class TestWhatIsHeld:
    def plan(self, fleet: Fleet) -> str:
        plan, *_ = plans_of(lambda: fleet.run(roster=True), "GROUP BY worker_id")
        return plan

    @pytest.mark.only_on("sqlite", reason="the plan as SQLite writes it")
    def test_is_counted_from_its_index_on_sqlite(self, fleet):
        assert "INDEX task_holder " in self.plan(fleet)

    @pytest.mark.only_on("postgresql", reason="SQLite has no bitmaps")
    def test_is_counted_without_a_bitmap_and_routes_are_found_with_one(self, fleet):
        """Guard: `scans_plainly`, without which a hundred thousand tasks that are done make a pass 8 ms longer,
        and `with_bitmaps`, without which who offers a thousand names waits for 8 s beside 300,000 routes."""
        settings: dict[str, str] = {}

        def note(execute: Any, sql: str, *rest: Any) -> Any:
            for words in ("GROUP BY worker_id", "FROM queueapp_route AS route"):
                if words in sql:
                    settings[words] = connection.connection.execute("SHOW enable_bitmapscan").fetchone()[0]
            return execute(sql, *rest)

        submit()
        with connection.execute_wrapper(note):
            fleet.attach("task=t")
            fleet.run()
        assert settings == {"GROUP BY worker_id": "off", "FROM queueapp_route AS route": "on"}

    @pytest.mark.only_on("postgresql", reason="the plan as PostgreSQL writes it")
    def test_is_counted_from_its_index_before_anybody_has_analysed_the_tasks(self, fleet):
        """Guard: the range. To PostgreSQL a column of which it knows nothing is hardly ever NULL."""
        fleet.attach("task=t")
        task = submit()[0]
        fleet.run()
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM pg_statistic WHERE starelid = 'queueapp_task'::regclass")
        finished = Task.objects.filter(pk=task).values().get()
        finished |= {"state": "succeeded", "worker_id": None, "deadline": None, "finished_at": database.now()}
        del finished["id"]
        Task.objects.bulk_create([Task(**finished) for _ in range(5000)])
        plan = self.plan(fleet)
        assert "task_holder" in plan, plan
        assert "Seq Scan on queueapp_task" not in plan, plan
