"""Passes against each other, and against all that frees a slot, where a queue or a key has one slot."""

from __future__ import annotations

from functools import partial
from uuid import UUID

import pytest

from queueapp import database, lifecycle, naming, queues
from queueapp.lifecycle import Report
from queueapp.lifecycle.submitting import route_id_of
from queueapp.limits import Blocked
from queueapp.models import ChangedKey, Task
from tests.concurrency.interleaving import BEFORE_COMMIT, after, interleave
from tests.integration.fleet import Fleet, holder_of, submit

pytestmark = pytest.mark.django_db(transaction=True)

WRITTEN = after("UPDATE queueapp_task")


@pytest.fixture(autouse=True)
def queue():
    """Who makes a queue's row holds up whoever needs it too; here nothing may do so."""
    naming.make_queues(["t"])


def dispatch(fleet: Fleet):
    """The second half of a pass alone, without the empty transaction of the first."""
    dispatcher = fleet.process._dispatcher
    return lambda: [each.task.task_id for each in dispatcher.run_pass().assignments]


def settle(fleet: Fleet) -> None:
    """As many passes as there are to do something in, and no more."""
    assert any(not fleet.run(roster=True).more for _ in range(10))


def one_task_each(here: Fleet, there: Fleet, **fields: str) -> tuple[UUID, UUID]:
    """Ready, each on a route of which one process has heard, for a worker of its own: neither a session nor a task
    is looked at by both processes."""
    here.attach("task=t&for=here")
    there.attach("task=t&for=there")
    for fleet in (here, there):
        settle(fleet)
    [first] = submit(attrs={"for": "here"}, **fields)
    [second] = submit(attrs={"for": "there"}, **fields)
    lifecycle.mark([first, second], [])
    ChangedKey.objects.all().delete()
    for fleet, place in ((here, "here"), (there, "there")):
        fleet.process._dispatcher.hear([route_id_of("t", {"for": place})])
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
                lifecycle.release([(holder_of(task_id), task_id)], now)

    @pytest.mark.parametrize("way", ["finish", "cancel", "release"])
    def test_a_slot_that_is_freed_while_a_pass_counts_is_used_by_the_next(self, here, tasks, way):
        """Guard: the change of the key is noted in the transaction that frees the slot."""
        [new] = submit(1, concurrency_key="k", priority=1)
        here.process._dispatcher.hear([], keys_changed=True)
        _, assigned = interleave(partial(self.end, way, tasks[0]), BEFORE_COMMIT, dispatch(here))
        assert assigned == []
        settle(here)
        assert list(Task.objects.assigned().values_list("id", flat=True)) == [new]

    def test_one_held_back_again_while_another_process_deals_with_the_free_slot_is_let_through(
        self, here, there, tasks
    ):
        """Guard: whoever settles has the dispatch lock before it counts. Without it the one would hold back, by a
        count that is out of date, what the other has just let through, and nobody would look at it any more."""
        first, second = tasks
        queues.pause(["t"], "me", "", database.now())
        for number in (2, 1):
            queues.configure("t", {"concurrency_per_key": number})
            settle(here)
        settle(there)
        queues.resume(["t"])
        assert list(Task.objects.ready().values_list("id", flat=True)) == [second]
        here.process._dispatcher._blocked = [Blocked(second, ("t", "k"))]

        def free_the_slot():
            self.end("finish", first)
            there.process._dispatcher._settle_keys()

        interleave(here.process._dispatcher._settle_keys, after("concurrency_per_key"), free_the_slot)
        settle(there)
        settle(here)
        assert holder_of(second) is not None

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
