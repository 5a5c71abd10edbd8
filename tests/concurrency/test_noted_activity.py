"""What is noted of workers, where several processes write it into their rows at once."""

from __future__ import annotations

import pytest
from django.db import transaction

from queueapp import database, lifecycle, sessions
from queueapp.domain.states import Outcome
from queueapp.lifecycle import activity
from queueapp.models import WorkerSession
from queueapp.sessions import Closing
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


def test_is_written_in_the_order_in_which_sessions_are_ended():
    """Guard: `write_noted` locks the sessions by id. Somebody holds the earlier one until both want it, who ends
    both first; the notes name the later one first."""
    early, late = sorted((rows.session() for _ in range(2)), key=lambda session: session.id)
    finish_two(late)
    finish_two(early)
    closings = [Closing(session.id, Outcome.LOST, 1006) for session in (early, late)]

    def hold() -> None:
        with transaction.atomic():
            WorkerSession.objects.select_for_update().get(pk=early.pk)

    with Party(hold, BEFORE_COMMIT) as hurdle:
        hurdle.until_it_stops()
        with Party(lambda: sessions.close(closings, NOW)) as ender:
            ender.until_it_waits()
            with Party(write) as writer:
                writer.until_it_waits()
                hurdle.go_on()
                assert ender.result() == {early.id, late.id}
                writer.result()
    assert (after_the_tick(early).done, after_the_tick(late).done) == (2, 2)
