"""What is noted of workers, where several processes write it into their rows at once."""

from __future__ import annotations

import pytest

from queueapp import database, lifecycle, sessions
from queueapp.domain.states import Outcome
from queueapp.lifecycle import activity
from queueapp.sessions import Closing
from tests.concurrency.interleaving import BEFORE_COMMIT, after, interleave
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


def test_is_counted_once():
    """Guards: who deletes a note is the one who counts it; SKIP LOCKED, without which the second would wait."""
    worker = rows.session()
    finish_two(worker)
    interleave(write, BEFORE_COMMIT, write)
    assert after_the_tick(worker).done == 2


def test_is_not_lost_when_it_comes_while_others_are_written():
    worker = rows.session()
    finish_two(worker)
    interleave(write, TAKEN, lambda: finish_two(worker))
    assert after_the_tick(worker).done == 4


def test_waits_for_no_session_that_ends_and_waits_for_its_task():
    """Guard: sessions are locked by id, and before tasks. The session's end takes its task back meanwhile."""
    worker = rows.session()
    finish_two(worker)
    rows.assigned(worker)
    closing = Closing(worker.id, Outcome.LOST, 1006)
    interleave(write, after("FOR UPDATE"), lambda: sessions.close([closing], NOW))
    assert after_the_tick(worker).done == 2
