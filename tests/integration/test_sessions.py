"""Worker sessions, and the nodes that hold them."""

from __future__ import annotations

import os
import socket
import subprocess
from datetime import timedelta

import pytest
from fleet import Fleet, holder_of, holders, submit

from queueapp import database, doorbell, sessions
from queueapp.domain.states import Outcome, SessionState
from queueapp.models import Attempt, Node, Queue, Subscription, Task, WorkerSession, new_id
from queueapp.registration import parse_first_message, parse_query
from queueapp.sessions import Attachment, Closing

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def rings():
    heard: list[doorbell.Ring] = []
    unlisten = doorbell.listen(heard.append)
    yield heard
    unlisten()


class TestAttach:
    def test_again_after_a_commit_whose_answer_was_lost_changes_nothing(self, fleet):
        parsed = parse_query(b"task=a", 1)
        attachments = [Attachment(new_id(), parsed.options, parsed.offers)]
        sessions.attach(fleet.node_id, attachments, database.now())
        assert fleet.run(attachments=attachments).attached == attachments
        assert WorkerSession.objects.get().subscriptions.count() == 1

    def test_a_session_is_stored_with_its_subscriptions_and_their_queues(self, fleet):
        (worker,) = fleet.attach("task=a,b&cloud=gcp,aws&_name=mine&_version=2&_max_outstanding=7")
        row = WorkerSession.objects.get(pk=worker)
        assert (row.name, row.version, row.max_outstanding, row.state) == ("mine", "2", 7, "online")
        assert row.node_id == fleet.node_id
        offered = sorted(row.subscriptions.values_list("name", "filter"))
        assert offered == [("a", {"cloud": ["aws", "gcp"]}), ("b", {"cloud": ["aws", "gcp"]})]
        assert set(Queue.objects.values_list("name", flat=True)) == {"a", "b"}

    def test_what_it_says_in_its_first_message_is_stored_whole_and_in_its_order(self, fleet):
        said = """[
            {"name": "b", "filter": {"cloud": ["gcp", "aws"], "size": "10"},
             "info": {"host": "höher", "n": [1.5, null]}},
            {"name": "a", "info": "'quoted' by \\"two\\""},
            {"name": "b"}
        ]"""
        options = parse_query(b"", 10).options
        attachments = [Attachment(new_id(), options, parse_first_message(said)) for _ in range(2)]
        fleet.run(attachments=attachments)
        for attachment in attachments:
            stored = Subscription.objects.filter(session=attachment.session_id).order_by("id")
            assert list(stored.values_list("name", "filter", "extra")) == [
                ("b", {"cloud": ["aws", "gcp"], "size": ["10"]}, {"info": {"host": "höher", "n": [1.5, None]}}),
                ("a", {}, {"info": "'quoted' by \"two\""}),
                ("b", {}, {}),
            ]
        assert set(Queue.objects.values_list("name", flat=True)) == {"a", "b"}


class TestClose:
    def test_an_ended_session_keeps_its_row_with_code_and_reason(self, fleet):
        (worker,) = fleet.attach("task=t")
        sessions.close([Closing(worker, Outcome.LOST, 1006, "broken pipe")], database.now())
        row = WorkerSession.objects.get(pk=worker)
        assert (row.state, row.close_code, row.close_reason) == (SessionState.GONE, 1006, "broken pipe")
        assert row.gone_at is not None

    def test_only_the_first_end_counts(self, fleet):
        (worker,) = fleet.attach("task=t")
        now = database.now()
        assert sessions.close([Closing(worker, Outcome.LOST, 1006)], now) == {worker}
        assert sessions.close([Closing(worker, Outcome.RELEASED, 1012)], now) == set()
        assert WorkerSession.objects.get(pk=worker).close_code == 1006

    def test_lost_counts_as_an_attempt_and_released_does_not(self, fleet):
        lost, released = fleet.attach("task=l", "task=r")
        submit(name="l")
        submit(name="r")
        fleet.run()
        closings = [Closing(lost, Outcome.LOST, 1006), Closing(released, Outcome.RELEASED, 1012)]
        sessions.close(closings, database.now())
        assert dict(Task.objects.values_list("name", "attempts_used")) == {"l": 1, "r": 0}
        assert dict(Attempt.objects.values_list("task__name", "outcome")) == {"l": "lost", "r": "released"}


class TestDisconnect:
    def test_it_releases_the_tasks_and_tells_the_process_that_holds_the_socket(self, fleet, rings):
        (worker,) = fleet.attach("task=t")
        task = submit()[0]
        fleet.run()
        assert sessions.disconnect([worker], database.now()) == {worker}
        assert holder_of(task) is None
        assert Task.objects.get(pk=task).attempts_used == 0
        assert [(i, code) for ring in rings for i, code, _ in ring.closed] == [(worker, 4409)]
        assert any(Task.objects.get(pk=task).route_id in ring.routes for ring in rings)


class TestDrain:
    def test_only_online_sessions_are_drained_and_told(self, fleet, rings):
        online, gone = fleet.attach("task=t", "task=t")
        fleet.detach(gone)
        assert sessions.drain([online, gone]) == {online}
        assert [i for ring in rings for i in ring.drained] == [online]
        assert sessions.drain([online]) == set()


class TestNodes:
    def test_a_dead_node_is_reaped_by_any_other_and_its_tasks_go_on_uncounted(self, fleet):
        (orphan,) = fleet.attach("task=t")
        task = submit()[0]
        fleet.run()
        other = Fleet()
        (heir,) = other.attach("task=t")
        Node.objects.filter(pk=fleet.node_id).update(lease_until=database.now() - timedelta(seconds=1))
        other.run(tick=True)
        assert holder_of(task) == heir
        assert WorkerSession.objects.get(pk=orphan).state == SessionState.GONE
        assert Task.objects.get(pk=task).attempts_used == 0
        assert Node.objects.get(pk=fleet.node_id).stopped_at is not None
        other.unlisten()

    def test_a_node_whose_lease_is_renewed_is_left_alone(self, fleet):
        (worker,) = fleet.attach("task=t")
        submit()
        fleet.run(tick=True)
        assert sessions.reap_dead_nodes(database.now()) == 0
        assert holders() == {worker: 1}

    def test_a_node_that_was_taken_for_dead_is_told_at_its_next_tick(self, fleet):
        Node.objects.filter(pk=fleet.node_id).update(stopped_at=database.now())
        assert fleet.run(tick=True).lease_lost

    def test_after_an_outage_of_the_database_nobody_is_taken_for_dead_by_the_first_who_is_back(self, fleet):
        (worker,) = fleet.attach("task=t")
        other = Fleet()
        past = database.now() - timedelta(seconds=1)
        Node.objects.update(lease_until=past)
        other.run(tick=True)
        assert WorkerSession.objects.get(pk=worker).state == SessionState.ONLINE
        assert not fleet.run(tick=True).lease_lost
        # Who does not come back is reaped once those who have are sure of themselves again.
        Node.objects.filter(pk=fleet.node_id).update(lease_until=past)
        other.process.reaps_from = database.now()
        other.run(tick=True)
        assert WorkerSession.objects.get(pk=worker).state == SessionState.GONE
        other.unlisten()

    def test_a_new_process_reaps_its_predecessors_on_this_host_at_once(self, fleet):
        (worker,) = fleet.attach("task=t")
        ended = subprocess.Popen(["true"])
        ended.wait()
        Node.objects.filter(pk=fleet.node_id).update(host=socket.gethostname(), pid=ended.pid)
        sessions.start_node(database.now())
        assert WorkerSession.objects.get(pk=worker).state == SessionState.GONE

    def test_living_processes_and_those_of_other_hosts_are_left_to_their_leases(self, fleet):
        now = database.now()
        lease = {"started_at": now, "lease_until": now + timedelta(seconds=60)}
        alive = Node.objects.create(host=socket.gethostname(), pid=os.getppid(), **lease)
        elsewhere = Node.objects.create(host="elsewhere", pid=1, **lease)
        sessions.start_node(now)
        assert Node.objects.running().filter(pk__in=[alive.pk, elsewhere.pk]).count() == 2
        assert {node.pk for node in sessions.living_nodes(now)} >= {alive.pk, elsewhere.pk}

    def test_an_orderly_end_closes_what_is_attached_and_releases(self, fleet):
        (worker,) = fleet.attach("task=t")
        task = submit()[0]
        fleet.run()
        sessions.stop_node(fleet.node_id, database.now())
        assert WorkerSession.objects.get(pk=worker).state == SessionState.GONE
        assert (holder_of(task), Task.objects.get(pk=task).attempts_used) == (None, 0)
