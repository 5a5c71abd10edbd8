"""Two server processes over one database: tasks that one assigns to the workers of the other."""

from __future__ import annotations

import pytest
from fleet import Fleet, holders, submit

from queueapp import database, handover, lifecycle, sessions
from queueapp import inbox as inboxes
from queueapp.doorbell import Revoked
from queueapp.handover import POLLS_A_ROLL_CALL
from queueapp.inbox import Inbox
from queueapp.lifecycle import Report
from queueapp.models import Task, new_id

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def here():
    fleet = Fleet()
    yield fleet
    fleet.unlisten()


@pytest.fixture
def there():
    fleet = Fleet()
    yield fleet
    fleet.unlisten()


def ids(assignments) -> list:
    return [assignment.task.task_id for assignment in assignments]


class TestAnnounced:
    def test_the_process_that_holds_the_socket_reads_the_rows_and_has_all_there_is_to_send(self, here, there):
        (worker,) = there.attach("task=t&cloud=aws")
        (task_id,) = submit(1, attrs={"cloud": "aws"}, data={"n": 1}, priority=3)
        (made,) = here.run().assignments
        (read,) = there.process.run(inbox(announced=[task_id]), {worker: {}}).assignments
        assert read == made

    def test_a_portion_is_handed_over_in_each_pass_and_all_in_the_end(self, here, there, monkeypatch):
        (worker,) = there.attach("task=t")
        tasks = submit(5)
        here.run()
        monkeypatch.setattr(inboxes, "WORK_A_PASS", 2)
        left, read = inbox(announced=tasks), []
        while left:
            outbox = there.process.run(left, {worker: dict.fromkeys(read, 1)})
            assert len(outbox.assignments) <= 2
            read += ids(outbox.assignments)
            left = outbox.left
        assert sorted(read) == sorted(tasks)

    @pytest.mark.parametrize("news", ["announced", "wanted"])
    def test_of_several_those_come_first_that_were_to_be_assigned_first(self, here, there, news):
        (worker,) = there.attach("task=t")
        last, first, third, second = (submit(priority=number)[0] for number in (-1, 5, 0, 3))
        here.run()
        read = there.process.run(inbox(**{news: [last, first, third, second]}), {worker: {}}).assignments
        assert ids(read) == [first, second, third, last]

    def test_what_was_sent_already_is_not_sent_again(self, here, there):
        (worker,) = there.attach("task=t")
        (task_id,) = submit()
        here.run()
        assert not there.process.run(inbox(announced=[task_id]), {worker: {task_id: 1}}).assignments

    def test_a_task_that_was_taken_away_meanwhile_is_not_sent(self, here, there):
        (worker,) = there.attach("task=t")
        (task_id,) = submit()
        here.run()
        lifecycle.cancel([task_id], database.now())
        assert not there.process.run(inbox(announced=[task_id]), {worker: {}}).assignments


class TestMissed:
    def test_the_tick_finds_what_nobody_announced(self, here, there):
        (worker,) = there.attach("task=t")
        known, missed = submit(2)
        here.run()
        found = there.process.run(inbox(tick=True), {worker: {known: 1}}).assignments
        assert ids(found) == [missed]

    def test_of_very_many_a_tick_finds_a_part_and_the_next_others(self, here, there, monkeypatch):
        (worker,) = there.attach("task=t")
        tasks = submit(5)
        here.run()
        monkeypatch.setattr(handover, "SENT_AT_ONCE", 2)
        sent: list = []
        for _ in range(3):
            found = there.process.run(inbox(tick=True), {worker: dict.fromkeys(sent, 1)}).assignments
            assert len(found) <= 2
            sent += ids(found)
        assert sorted(sent) == sorted(tasks)

    def test_another_attempt_of_a_task_that_was_sent_is_sent_too(self, here, there):
        (worker,) = there.attach("task=t")
        (task_id,) = submit()
        here.run()
        Task.objects.update(attempt=2)
        other = submit()[0]
        here.run()
        found = there.process.run(inbox(tick=True), {worker: {task_id: 1}}).assignments
        assert sorted(ids(found)) == sorted([task_id, other])

    def test_a_task_is_found_that_took_the_place_of_one_taken_away_unheard(self, here, there):
        (worker,) = there.attach("task=t&_max_outstanding=1")
        first, second = submit(2)
        here.run()
        lifecycle.cancel([first], database.now())
        here.run(roster=True)
        found = there.process.run(inbox(tick=True), {worker: {first: 1}}).assignments
        assert ids(found) == [second]

    def test_a_task_that_is_given_back_in_the_same_pass_is_not_sent_once_more(self, here, there):
        (worker,) = there.attach("task=t")
        (task_id,) = submit()
        here.run()
        (sent,) = there.process.run(inbox(tick=True, releases=[(worker, task_id)]), {worker: {}}).assignments
        assert sent.task.attempt == 2

    def test_the_tick_finds_what_a_process_assigned_that_has_ended_since(self, here, there):
        (worker,) = there.attach("task=t")
        there.process.run(inbox(tick=True), {worker: {}})
        (task_id,) = submit()
        here.run()
        sessions.stop_node(here.node_id, database.now())
        assert ids(there.process.run(inbox(tick=True), {worker: {}}).assignments) == [task_id]

    def test_a_process_alone_finds_what_it_assigned_itself_when_the_answer_to_the_commit_was_lost(self, there):
        (worker,) = there.attach("task=t")
        (task_id,) = submit()
        there.run()
        assert ids(there.process.run(inbox(tick=True), {worker: {}}).assignments) == [task_id]


class TestUnheard:
    """News that was rung where nobody could hear it, or never, for the answer to the commit was lost."""

    def test_a_task_that_is_not_the_workers_any_more_is_revoked_with_the_reason(self, there):
        (worker,) = there.attach("task=t")
        (task_id,) = submit()
        there.run()
        lifecycle.cancel([task_id], database.now())
        news = there.process.run(inbox(tick=True), {worker: {task_id: 1}}).unheard
        assert news.revoked == (Revoked(worker, task_id, 1, "cancelled"),)

    def test_an_older_attempt_is_revoked_and_the_new_one_sent(self, here, there):
        (worker,) = there.attach("task=t")
        (task_id,) = submit()
        here.run()
        lifecycle.release([(worker, task_id)], database.now())
        here.run()
        outbox = there.process.run(inbox(tick=True), {worker: {task_id: 1}})
        assert outbox.unheard.revoked == (Revoked(worker, task_id, 1, "released"),)
        assert [each.task.attempt for each in outbox.assignments] == [2]

    def test_a_task_revoked_and_another_assigned_are_found_though_their_number_is_the_same(self, here, there):
        (worker,) = there.attach("task=t")
        (first,) = submit()
        here.run()
        lifecycle.cancel([first], database.now())
        (second,) = submit()
        here.run()
        outbox = there.process.run(inbox(tick=True), {worker: {first: 1}})
        assert outbox.unheard.revoked == (Revoked(worker, first, 1, "cancelled"),)
        assert ids(outbox.assignments) == [second]

    def test_sessions_that_look_right_are_compared_in_turns(self, here, there, monkeypatch):
        monkeypatch.setattr("queueapp.handover.COMPARED_AT_ONCE", 1)
        workers = sorted(there.attach("task=t", "task=t"))
        submit(2)
        here.run()
        assert set(holders().values()) == {1}
        gone = {worker: {new_id(): 1} for worker in workers}
        revoked = [there.process.run(inbox(tick=True), gone).unheard.revoked for _ in range(3)]
        assert [[each.session_id for each in found] for found in revoked] == [
            [workers[0]],
            [workers[1]],
            [workers[0]],
        ]

    def test_a_task_whose_result_comes_in_the_same_pass_is_not_revoked(self, there):
        (worker,) = there.attach("task=t")
        (task_id,) = submit()
        there.run()
        report = Report(worker, task_id, done=True)
        outbox = there.process.run(inbox(tick=True, reports=[report]), {worker: {task_id: 1}})
        assert not outbox.unheard.revoked

    def test_a_session_that_was_closed_is_told(self, here, there):
        (worker,) = there.attach("task=t")
        sessions.disconnect([worker], database.now())
        news = there.process.run(inbox(tick=True), {worker: {}}).unheard
        assert news.closed == ((worker, 4409, "Disconnected by an operator."),)

    def test_a_session_that_drains_is_told(self, there):
        (worker,) = there.attach("task=t")
        sessions.drain([worker])
        assert there.process.run(inbox(tick=True), {worker: {}}).unheard.drained == (worker,)

    def test_a_session_that_is_not_stored_yet_is_left_alone(self, there):
        outbox = there.process.run(inbox(tick=True), {new_id(): {}})
        assert not outbox.unheard

    def test_a_session_that_was_closed_is_told_though_one_that_was_left_behind_stands_in_for_it(self, there):
        """Guard: the roll call. As many are online as there should be."""
        closed, _ = there.attach("task=t", "task=t")
        sessions.disconnect([closed], database.now())
        told = [there.process.run(inbox(tick=True), {closed: {}}).unheard.closed for _ in range(POLLS_A_ROLL_CALL)]
        assert [session_id for news in told for session_id, _, _ in news] == [closed]

    def test_with_all_as_it_was_sent_there_is_nothing_to_tell(self, there):
        (worker,) = there.attach("task=t")
        (task_id,) = submit()
        there.run()
        outbox = there.process.run(inbox(tick=True), {worker: {task_id: 1}})
        assert not outbox.unheard
        assert not outbox.assignments


def inbox(**members) -> Inbox:
    return Inbox(**members)
