"""Many who fail by the same cause at once: their group is nothing that they could wait for."""

from __future__ import annotations

import random
from threading import Thread
from typing import Any

import pytest
from django.db import connection

from queueapp import database, error_groups, lifecycle
from queueapp.models import Attempt
from tests.concurrency.interleaving import BEFORE_COMMIT, Party
from tests.integration import rows
from tests.integration.rows import NOW, assigned, attempts, error

pytestmark = pytest.mark.django_db(transaction=True)

PARTIES = 8
BATCHES = 6
OF_A_BATCH = 20
TEXTS = ("disk {} full", "no answer from 10.0.0.{}", "broken")


def failing(worker, task_ids, text="disk 7 full"):
    return lambda: lifecycle.finish([error(worker, task_id, text) for task_id in task_ids], NOW)


def test_who_fails_by_the_same_cause_does_not_wait_for_one_that_has_not_committed():
    """Guard: no row is of a group. One that is counted in (`… ON CONFLICT DO UPDATE SET count = count + 1`) is
    locked to the end of the first transaction."""
    one, other = rows.session(), rows.session()
    [first], [second] = assigned(one), assigned(other)
    with Party(failing(one, [first]), BEFORE_COMMIT) as slow:
        slow.until_it_stops()
        with Party(failing(other, [second])) as quick:
            assert quick.result() == ["accepted"]
        slow.go_on()
        assert slow.result() == ["accepted"]
    assert attempts(first) == attempts(second) == [(1, "error")]
    [group] = error_groups.read("all", NOW).groups
    assert (group.tally.errors, group.failed) == (2, 2)


def test_batches_of_the_same_groups_in_any_order_do_not_deadlock():
    """Each party fails tasks of its own by three causes of two names. In the order of their ids, in which they are
    locked, the names come one way with one party and the other way with the next."""
    workers = [rows.session(max_outstanding=10_000) for _ in range(PARTIES)]
    held: dict[Any, list[Any]] = {worker.id: [] for worker in workers}
    for number in range(BATCHES * 2):
        for place, worker in enumerate(workers):
            held[worker.id] += assigned(worker, OF_A_BATCH // 2, name=("tag", "collect")[(number + place) % 2])
    reported: list[Any] = []

    def noting(execute, *statement):
        try:
            return execute(*statement)
        except Exception as failure:
            reported.append(failure)
            raise

    def fail_all(worker):
        chance = random.Random(str(worker.id))
        tasks = held[worker.id]
        try:
            with connection.execute_wrapper(noting):
                for batch in database.parts(tasks, OF_A_BATCH):
                    texts = [chance.choice(TEXTS).format(chance.randrange(256)) for _ in batch]
                    reports = [error(worker, task_id, text) for task_id, text in zip(batch, texts, strict=True)]
                    lifecycle.finish(reports, NOW)
        except Exception as failure:
            reported.append(failure)
        finally:
            connection.close()

    threads = [Thread(target=fail_all, args=[worker]) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert reported == []
    groups = error_groups.read("all", NOW).groups
    assert len(groups) == 2 * len(TEXTS)
    assert sum(group.tally.errors for group in groups) == Attempt.objects.count() == PARTIES * BATCHES * OF_A_BATCH
    assert all(group.failed == group.tally.errors for group in groups)
