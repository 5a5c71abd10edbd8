"""The reaper against a node that is slow but lives, and against another reaper."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import transaction

from queueapp import database, sessions
from queueapp.conf import config
from queueapp.models import Node, WorkerSession, new_id
from queueapp.registration import parse_query
from queueapp.sessions import Attachment
from tests.concurrency.interleaving import BEFORE_COMMIT, interleave
from tests.integration.fleet import submit
from tests.integration.rows import attempts, row

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def slow(here):
    """A process that has a worker with a task, and whose lease is over."""
    [here.worker] = here.attach("task=t")
    [here.task_id] = submit()
    here.run()
    assert row(here.task_id).worker_id == here.worker
    Node.objects.filter(pk=here.node_id).update(lease_until=database.now() - timedelta(seconds=1))
    return here


def reap() -> int:
    return sessions.reap_dead_nodes(database.now())


class TestASlowNode:
    def test_its_late_result_is_stale(self, slow):
        """Guard: state and worker in the WHERE of `_succeed`, looked at after `_lock_sessions` has waited for the
        reaper."""
        reaped, verdicts = interleave(reap, BEFORE_COMMIT, lambda: slow.finish(slow.worker, slow.task_id))
        assert (reaped, verdicts) == (1, ["stale"])
        assert row(slow.task_id).state == "pending"
        assert attempts(slow.task_id) == [(1, "released")]

    def test_its_result_that_comes_first_is_kept(self, slow):
        """Guard: the reaper waits for the session's lock, and looks at its tasks after that."""
        verdicts, reaped = interleave(lambda: slow.finish(slow.worker, slow.task_id), BEFORE_COMMIT, reap)
        assert (verdicts, reaped) == (["accepted"], 1)
        assert row(slow.task_id).state == "succeeded"
        assert attempts(slow.task_id) == []

    def test_a_worker_that_attaches_there_is_refused_and_the_node_told(self, slow):
        """Guard: `attach` locks the node (FOR UPDATE), so that `running` is looked at again; else nobody would
        ever close the session."""
        query = parse_query(b"task=t", 100)
        attachment = Attachment(new_id(), query.options, query.offers)
        reaped, outbox = interleave(reap, BEFORE_COMMIT, lambda: slow.run(attachments=[attachment]))
        assert (reaped, outbox.lease_lost, outbox.attached) == (1, True, [])
        assert not WorkerSession.objects.attached().exists()

    def test_a_worker_that_attached_there_before_is_closed_with_the_others(self, slow):
        """Guard: the same lock, which the reaper waits for before it looks at the node's sessions."""
        _, reaped = interleave(lambda: slow.attach("task=t"), BEFORE_COMMIT, reap)
        assert reaped == 1
        assert not WorkerSession.objects.attached().exists()

    def test_it_is_told_that_its_lease_is_lost(self, slow):
        """Guard: `running` in the WHERE of `renew_lease`."""
        reaped, outbox = interleave(reap, BEFORE_COMMIT, lambda: slow.run(tick=True))
        assert (reaped, outbox.lease_lost) == (1, True)
        assert not Node.objects.running().filter(pk=slow.node_id).exists()

    def test_it_is_spared_when_it_renews_its_lease_first(self, slow):
        """Guard: `reap_dead_nodes` locks (FOR UPDATE), so that `dead` is looked at again."""

        def renew():
            with transaction.atomic():
                return sessions.renew_lease(slow.node_id, database.now())

        assert interleave(renew, BEFORE_COMMIT, reap) == (sessions.Lease.LAPSED, 0)
        lease = Node.objects.running().get(pk=slow.node_id).lease_until - database.now()
        assert lease > timedelta(seconds=config().lease_seconds / 2)
        assert row(slow.task_id).worker_id == slow.worker


class TestTwoReapers:
    def test_one_ends_the_sessions_and_the_other_does_not_wait_for_it(self, slow, monkeypatch):
        """Guard: the lock that `end_orphans` tries."""
        monkeypatch.setattr(sessions, "ENDED_AT_ONCE", 1)
        slow.attach("task=other", "task=other")
        reap()

        def end_orphans() -> bool:
            return sessions.end_orphans(database.now())

        assert interleave(end_orphans, BEFORE_COMMIT, end_orphans) == (True, False)
        assert WorkerSession.objects.attached().count() == 1

    def test_one_reaps_and_the_other_finds_nothing_left(self, slow):
        """Guard: `reap_dead_nodes` locks (FOR UPDATE), so that `dead` is looked at again."""
        assert interleave(reap, BEFORE_COMMIT, reap) == (1, 0)
        assert attempts(slow.task_id) == [(1, "released")]

    def test_a_node_that_stops_while_it_is_reaped_gives_its_tasks_back_once(self, slow):
        """Guard: `sessions._lock` (FOR UPDATE), after which `attached` is looked at again."""
        interleave(reap, BEFORE_COMMIT, lambda: sessions.stop_node(slow.node_id, database.now()))
        assert attempts(slow.task_id) == [(1, "released")]
        assert row(slow.task_id).attempts_used == 0
