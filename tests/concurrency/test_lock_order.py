"""Transactions over many rows lock them in one order: sessions before tasks, each by id. So none waits for another
that waits for it.

A third party holds up the two that race where one statement locks several rows, inside which nobody can stop.
"""

from __future__ import annotations

from functools import partial

import pytest
from django.db import connection, transaction

from queueapp import database, lifecycle, sessions
from queueapp.inbox import Inbox
from queueapp.lifecycle import SignOfLife
from queueapp.models import Task
from queueapp.passes import Pass
from tests.concurrency.interleaving import BEFORE_COMMIT, Party, after, interleave
from tests.integration import rows
from tests.integration.fleet import Fleet, submit
from tests.integration.rows import NOW, done, row

pytestmark = pytest.mark.django_db(transaction=True)


def lock(task_id):
    with transaction.atomic():
        Task.objects.select_for_update().get(pk=task_id)


def in_the_order_given(act):
    """With the plan of a large table: the rows of a batch one after another, each by the index."""
    with transaction.atomic(), connection.cursor() as cursor:
        for plan in ("hashjoin", "mergejoin", "seqscan", "material", "sort"):
            cursor.execute(f"SET LOCAL enable_{plan} = off")
        return act()


class TestTwoBatchesOfResults:
    def test_over_the_same_tasks_in_opposite_orders_do_not_wait_for_each_other(self):
        """For: `database.locking`, which locks by id before the update. Not proven: without it this test passes
        too. Each batch has a task of its own between the two that they share, and waits there until the other has
        begun."""
        honest, liar = rows.session(), rows.session()
        first, own, others, last = rows.assigned(honest, 4)

        def finish(worker, *task_ids):
            reports = [done(worker, task_id) for task_id in task_ids]
            return lambda: in_the_order_given(lambda: lifecycle.finish(reports, NOW))

        with (
            Party(lambda: lock(own), BEFORE_COMMIT) as hurdle,
            Party(lambda: lock(others), BEFORE_COMMIT) as other_hurdle,
        ):
            hurdle.until_it_stops()
            other_hurdle.until_it_stops()
            with (
                Party(finish(honest, first, own, last)) as one,
                Party(finish(liar, last, others, first)) as other,
            ):
                one.until_it_waits()
                other.until_it_waits()
                hurdle.go_on()
                other_hurdle.go_on()
                assert one.result() == ["accepted"] * 3
                assert other.result() == ["stale"] * 3


class TestOnePassOfManyVerbs:
    """A pass writes results, signs of life and what is given back in one transaction."""

    @pytest.fixture(autouse=True)
    def _nobody_tries_again(self, monkeypatch):
        """Whoever PostgreSQL picks to end a deadlock."""
        monkeypatch.setattr(database, "RETRIES", 1)

    @pytest.fixture
    def workers(self):
        return sorted((rows.session() for _ in range(2)), key=lambda session: session.id)

    def run(self, **inbox):
        process = Pass(sessions.start_node(database.now()))
        return lambda: process.run(Inbox(**inbox)).verdicts

    def test_a_result_and_a_sign_of_life_against_a_cancel_of_both_tasks(self, workers):
        """Guard: `passes._perform` locks all the tasks of its inbox, by id, before anything else."""
        worker, _ = workers
        first, last = rows.assigned(worker, 2)
        busy = self.run(reports=[done(worker, last)], signs=[SignOfLife(worker.id, first)])
        cancel = partial(lifecycle.cancel, [first, last], database.now())
        [(_, verdict)], cancelled = interleave(busy, after("UPDATE queueapp_task"), cancel)
        assert (verdict, cancelled) == ("accepted", {first})

    def test_tasks_given_back_by_two_workers_against_a_cancel_of_both(self, workers):
        """Guard: the same."""
        [first], [last] = (rows.assigned(worker) for worker in workers)
        busy = self.run(releases=[(workers[1].id, last), (workers[0].id, first)])
        interleave(busy, after("UPDATE queueapp_task"), lambda: lifecycle.cancel([first, last], database.now()))
        assert [row(first).state, row(last).state] == ["cancelled", "cancelled"]

    def test_tasks_given_back_one_by_one_against_a_cancel_of_them_all(self, workers):
        """Guard: `passes._write` gives back in the order of the ids."""
        worker, _ = workers
        first, last = rows.assigned(worker, 2)
        busy = self.run(releases=[(worker.id, last), (worker.id, first)])
        interleave(busy, after("UPDATE queueapp_task"), lambda: lifecycle.cancel([first, last], database.now()))
        assert [row(first).state, row(last).state] == ["cancelled", "cancelled"]


class TestTwoDeadNodes:
    def test_they_are_reaped_while_a_dispatcher_works(self):
        """Guard: the reaper locks the sessions of all dead nodes, by id, before it takes their tasks."""
        one, other = Fleet(), Fleet()
        [early] = other.attach("task=other")
        [late] = one.attach("task=t")
        submit()
        one.run()
        assert early < late
        dispatcher = Pass(sessions.start_node(database.now()))._dispatcher
        interleave(
            lambda: sessions.reap_dead_nodes(rows.NOW),
            after("UPDATE queueapp_task"),
            dispatcher.run_pass,
        )
        assert not sessions.living_nodes(rows.NOW)
        for fleet in (one, other):
            fleet.unlisten()
