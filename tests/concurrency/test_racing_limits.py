"""Passes against each other, and against all that frees a slot, where a queue or a key has one slot."""

from __future__ import annotations

from functools import partial
from uuid import UUID

import pytest

from queueapp import database, lifecycle, queues
from queueapp.lifecycle import Report
from queueapp.lifecycle.submitting import route_id_of
from queueapp.models import Queue, Task
from tests.concurrency.interleaving import BEFORE_COMMIT, Party, after, interleave
from tests.integration.fleet import Fleet, holder_of, submit

pytestmark = pytest.mark.django_db(transaction=True)

WRITTEN = after("UPDATE queueapp_task")


@pytest.fixture(autouse=True)
def queue():
    """Who makes a queue's row holds up whoever needs it too; here nothing may do so."""
    Queue.objects.ensure(["t"])


def dispatch(fleet: Fleet):
    """The second half of a pass alone, without the empty transaction of the first."""
    dispatcher = fleet.process._dispatcher
    return lambda: [each.task.task_id for each in dispatcher.run_pass(database.now()).assignments]


def settle(fleet: Fleet) -> None:
    while fleet.run(roster=True).more:
        pass


def one_task_each(here: Fleet, there: Fleet, **fields: str) -> tuple[UUID, UUID]:
    """Ready, each for a worker of its own, so that neither a session nor a task is looked at by both processes."""
    here.attach("task=t&for=here")
    there.attach("task=t&for=there")
    queues.pause(["t"], "me", "", database.now())
    [first] = submit(attrs={"for": "here"}, **fields)
    [second] = submit(attrs={"for": "there"}, **fields)
    for fleet in (here, there):
        settle(fleet)
    queues.resume(["t"])
    for fleet, place in ((here, "here"), (there, "there")):
        fleet.process._dispatcher.hear([route_id_of("t", {"for": place})])
    assert Task.objects.ready().count() == 2
    return first, second


class TestTwoDispatchers:
    def test_the_one_free_slot_of_a_queue_is_used_once(self, here, there):
        """Guard: the dispatch lock, under which what runs is counted."""
        queues.configure("t", {"concurrency": 1})
        first, second = one_task_each(here, there)
        assert interleave(dispatch(here), WRITTEN, dispatch(there)) == ([first], [])
        assert holder_of(second) is None

    def test_the_one_free_slot_of_a_key_is_used_once(self, here, there):
        """Guard: the dispatch lock, as before."""
        first, second = one_task_each(here, there, concurrency_key="k")
        assert interleave(dispatch(here), WRITTEN, dispatch(there)) == ([first], [])
        assert holder_of(second) is None

    def test_they_let_one_task_through_for_one_slot(self, here, there):
        """Guard: `settle` takes the dispatch lock before it reads what has changed."""
        here.attach("task=t")
        submit(3, concurrency_key="k")
        there.process._dispatcher.hear([], keys_changed=True)
        here.process._dispatcher.hear([], keys_changed=True)
        with Party(dispatch(here), WRITTEN) as one:
            one.until_it_stops()
            with Party(dispatch(there)) as other:
                other.until_it_waits()
                assert other.is_blocked()
        assert Task.objects.assigned().count() + Task.objects.ready().count() == 1


class TestAPassAgainstTheEndOfATask:
    @pytest.fixture
    def tasks(self, here):
        """The first of them runs, the second is held back."""
        here.attach("task=t")
        tasks = submit(2, concurrency_key="k")
        settle(here)
        assert holder_of(tasks[0]) is not None
        return tasks

    def end(self, way: str, task_id: UUID) -> None:
        now = database.now()
        match way:
            case "finish":
                lifecycle.finish([Report(holder_of(task_id), task_id, done=True)], now)
            case "cancel":
                lifecycle.cancel([task_id], now)
            case "release":
                lifecycle.release(holder_of(task_id), [task_id], now)

    @pytest.mark.parametrize("way", ["finish", "cancel", "release"])
    def test_a_slot_that_is_freed_while_a_pass_counts_is_used_by_the_next(self, here, tasks, way):
        """Guard: the change of the key is noted in the transaction that frees the slot."""
        [new] = submit(1, concurrency_key="k", priority=1)
        here.process._dispatcher.hear([], keys_changed=True)
        _, assigned = interleave(partial(self.end, way, tasks[0]), BEFORE_COMMIT, dispatch(here))
        assert assigned == []
        settle(here)
        assert list(Task.objects.assigned().values_list("id", flat=True)) == [new]

    def test_one_held_back_again_while_the_slot_is_freed_is_let_through_by_the_next(self, here, tasks):
        """Guard: the same note, which is read by the pass after the one that held the task back."""
        queues.configure("t", {"concurrency_per_key": 2})
        queues.pause(["t"], "me", "", database.now())
        settle(here)
        queues.configure("t", {"concurrency_per_key": 1})
        queues.resume(["t"])
        assert Task.objects.ready().count() == 1
        finish = partial(self.end, "finish", tasks[0])

        def passes():
            settle(here)
            return Task.objects.ready().count()

        assert interleave(finish, BEFORE_COMMIT, passes)[1] == 0
        settle(here)
        assert holder_of(tasks[1]) is not None

    def test_a_task_cancelled_while_it_is_let_through_is_neither_ready_nor_in_the_way(self, here, tasks):
        """Guard: `mark` looks at the state of what it locked; the cancellation is noted."""
        self.end("finish", tasks[0])
        [last] = submit(1, concurrency_key="k")
        here.process._dispatcher.hear([], keys_changed=True)
        cancel = partial(self.end, "cancel", tasks[1])
        interleave(cancel, BEFORE_COMMIT, dispatch(here))
        settle(here)
        assert list(Task.objects.assigned().values_list("id", flat=True)) == [last]


class TestAPassAgainstALimit:
    def test_when_a_lower_limit_is_set_no_pass_goes_by_the_one_before(self, here):
        """Guard: `queues.configure` takes the dispatch lock: it waits for the pass that has read the limit."""
        here.attach("task=t")
        submit(5)
        here.process._dispatcher.hear([route_id_of("t", {})])

        def lower():
            queues.configure("t", {"concurrency": 1})
            return Task.objects.assigned().count()

        assigned, seen = interleave(dispatch(here), WRITTEN, lower)
        assert seen == len(assigned) == 5

    def test_a_pass_that_comes_second_goes_by_the_new_one(self, here):
        """Guard: as before; the pass waits until the limit is there to be read."""
        here.attach("task=t")
        submit(5)
        here.process._dispatcher.hear([route_id_of("t", {})])
        _, assigned = interleave(lambda: queues.configure("t", {"concurrency": 1}), BEFORE_COMMIT, dispatch(here))
        assert len(assigned) == 1
