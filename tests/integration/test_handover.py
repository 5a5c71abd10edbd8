"""Two server processes over one database: tasks that one assigns to the workers of the other."""

from __future__ import annotations

import pytest
from fleet import Fleet, submit

from queueapp import database, lifecycle, sessions
from queueapp.models import Task
from queueapp.passes import Inbox

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

    def test_a_process_alone_asks_for_nothing(self, there):
        (worker,) = there.attach("task=t")
        submit()
        there.run()
        assert not there.process.run(inbox(tick=True), {worker: {}}).assignments


def inbox(**members) -> Inbox:
    return Inbox(**members)
