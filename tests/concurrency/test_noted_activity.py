"""What is noted of workers, where several processes write it into their rows at once."""

from __future__ import annotations

import pytest
from django.db import transaction

from queueapp import database, lifecycle
from queueapp.lifecycle import activity
from queueapp.lifecycle.activity import Books
from queueapp.models import Activity, WorkerSession
from tests.concurrency.interleaving import BEFORE_COMMIT, Party, after, interleave
from tests.integration import rows
from tests.integration.rows import NOW, after_the_tick, done

pytestmark = pytest.mark.django_db(transaction=True)

TAKEN = after("DELETE FROM queueapp_activity")


def write() -> None:
    with database.brief_transaction():
        activity.write_noted()


def finish_two(worker) -> None:
    reports = [done(worker, task_id) for task_id in rows.assigned(worker, 2)]
    assert lifecycle.finish(reports, NOW) == ["accepted", "accepted"]


def test_is_counted_once_and_the_second_waits_for_nobody():
    """Guards: who deletes a note is the one who counts it; SKIP LOCKED."""
    worker = rows.session()
    finish_two(worker)
    with Party(write, BEFORE_COMMIT) as one:
        one.until_it_stops()
        with Party(write) as other:
            other.until_it_waits()
            assert not other.is_blocked()
    assert after_the_tick(worker).done == 2


def test_is_not_lost_when_it_comes_while_others_are_written():
    worker = rows.session()
    finish_two(worker)
    interleave(write, TAKEN, lambda: finish_two(worker))
    assert after_the_tick(worker).done == 4


def test_waits_for_no_session_and_is_written_once_it_is_free():
    """Guard: NOWAIT. Results and assignments would wait on the same thread for whoever holds the row."""
    worker = rows.session()
    finish_two(worker)

    def hold() -> None:
        with transaction.atomic():
            WorkerSession.objects.select_for_update().get(pk=worker.pk)

    with Party(hold, BEFORE_COMMIT) as holder:
        holder.until_it_stops()
        with Party(Books().write) as writer:
            writer.until_it_waits()
            assert not writer.is_blocked()
            writer.result()
        assert Activity.objects.exists()
    Books().write()
    assert not Activity.objects.exists()
    assert after_the_tick(worker).done == 2
