"""Two server processes over one database: tasks that one assigns to the workers of the other."""

from __future__ import annotations

import pytest
from fleet import Fleet, submit

from queueapp import database, lifecycle, sessions
from queueapp.doorbell import Revoked
from queueapp.models import Task, new_id
from queueapp.passes import Inbox
from queueapp.registration import parse_query
from queueapp.sessions import Attachment

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

    def test_another_attempt_of_a_task_that_was_sent_is_sent_too(self, here, there):
        (worker,) = there.attach("task=t")
        (task_id,) = submit()
        here.run()
        Task.objects.update(attempt=2)
        other = submit()[0]
        here.run()
        found = there.process.run(inbox(tick=True), {worker: {task_id: 1}}).assignments
        assert sorted(ids(found)) == sorted([task_id, other])

    def test_one_that_was_taken_away_unheard_hides_none_that_came_unheard(self, here, there):
        """As many tasks as were sent, and others."""
        (worker,) = there.attach("task=t")
        (cancelled,) = submit()
        here.run()
        lifecycle.cancel([cancelled], database.now())
        (missed,) = submit()
        here.run()
        outbox = there.process.run(inbox(tick=True), {worker: {cancelled: 1}})
        assert ids(outbox.assignments) == [missed]
        assert outbox.revoked == [Revoked(worker, cancelled, 1, "cancelled")]

    def test_what_agrees_with_the_rows_is_left_alone(self, here, there):
        (worker,) = there.attach("task=t")
        sent = submit(3)
        here.run()
        outbox = there.process.run(inbox(tick=True), {worker: dict.fromkeys(sent, 1)})
        assert (outbox.assignments, outbox.revoked, outbox.closed) == ([], [], [])

    def test_a_session_that_an_operator_ended_elsewhere_is_closed(self, here, there):
        ended, attached = there.attach("task=t", "task=t")
        sessions.disconnect([ended], database.now())
        outbox = there.process.run(inbox(tick=True), {ended: {}, attached: {}})
        assert outbox.closed == [(ended, 4409, "Disconnected by an operator.")]

    def test_a_session_that_is_about_to_attach_is_not_taken_for_ended(self, here, there):
        attachment = Attachment(new_id(), *_parsed("task=t"))
        outbox = there.process.run(inbox(tick=True, attachments=[attachment]), {attachment.session_id: {}})
        assert outbox.closed == []

    def test_a_process_alone_asks_for_nothing(self, there):
        (worker,) = there.attach("task=t")
        submit()
        there.run()
        assert not there.process.run(inbox(tick=True), {worker: {}}).assignments


def _parsed(query: str):
    parsed = parse_query(query.encode(), 100)
    return parsed.options, parsed.offers


def inbox(**members) -> Inbox:
    return Inbox(**members)
