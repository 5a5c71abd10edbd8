"""What workers do: come, work, lie, repeat themselves, and go."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from queueapp.domain.matching import Subscription
from queueapp.domain.states import Outcome
from queueapp.lifecycle import Report, SignOfLife
from queueapp.models import new_id
from queueapp.registration import Offer, Options
from queueapp.sessions import Attachment, Closing
from stateful.machine import NAMES, Machine, mostly
from stateful.model import ModelTask, ModelWorker
from stateful.process import Process

NOBODYS_TASK = UUID(int=1)

capacities = st.sampled_from((1, 1, 2, 3, 4))
filters = st.sampled_from(
    (
        {},
        {"cloud": ["aws"]},
        {"cloud": ["aws", "gcp"]},
        {"zone": ["a"]},
        {"cloud": ["aws", "gcp"], "zone": ["a"]},
        {"cloud": ["aws"], "zone": ["a", "b"]},
    )
)
subscriptions = st.lists(
    st.fixed_dictionaries({"name": st.sampled_from(NAMES), "filter": filters}), min_size=1, max_size=2
)
fleets = st.builds(
    lambda workers, copies: workers * copies,
    st.lists(st.tuples(subscriptions, capacities), min_size=1, max_size=3),
    st.integers(1, 2),
)

Fleet = list[tuple[list[dict[str, Any]], int]]


def has_connections(machine: Machine) -> bool:
    return bool(machine.world.connections())


def has_tasks(machine: Machine) -> bool:
    return bool(machine.model.tasks) and has_connections(machine)


def has_holders(machine: Machine) -> bool:
    return bool(_holders(machine))


def _holders(machine: Machine) -> list[tuple[Process, ModelWorker]]:
    return [pair for pair in machine.world.connections() if machine.model.held_by(pair[1].id)]


class Workers(Machine):
    @initialize(data=st.data(), fleet=fleets)
    def begin_with_workers(self, data: st.DataObject, fleet: Fleet) -> None:
        for offers, capacity in fleet:
            self._connect(data.draw(st.sampled_from(self.world.processes)), offers, capacity)

    @rule(data=st.data(), fleet=fleets, now=mostly)
    def attach(self, data: st.DataObject, fleet: Fleet, now: bool) -> None:
        self.step()
        process = data.draw(st.sampled_from(self.world.processes))
        for offers, capacity in fleet:
            self._connect(process, offers, capacity)
        self.turn_if(now, process)

    def _connect(self, process: Process, offers: list[dict[str, Any]], capacity: int) -> None:
        number = len(self.model.workers) + len(self.world.joining) + 1
        worker = ModelWorker(number, new_id(), process.node_id, offers, capacity, self.world.now)
        self.world.joining[worker.id] = worker
        process.links[worker.id] = {}
        offered = tuple(Offer(Subscription.of(offer["name"], offer["filter"])) for offer in offers)
        process.inbox.attachments.append(Attachment(worker.id, Options(capacity), offered))

    @precondition(has_connections)
    @rule(data=st.data(), abruptly=st.booleans(), finished=st.booleans(), now=mostly)
    def leave(self, data: st.DataObject, abruptly: bool, finished: bool, now: bool) -> None:
        """The connection is gone, perhaps just after the last result, or the worker asks for no more tasks."""
        self.step()
        process, worker = data.draw(st.sampled_from(self.world.connections()))
        if finished:
            self._finish_all(process, worker)
        self._leave(process, worker, abruptly)
        self.turn_if(now, process)

    def _leave(self, process: Process, worker: ModelWorker, abruptly: bool) -> None:
        if abruptly:
            del process.links[worker.id]
            process.inbox.closings.append(Closing(worker.id, Outcome.LOST, 1006))
        else:
            process.inbox.drains.append(worker.id)

    @precondition(has_connections)
    @rule(data=st.data(), abruptly=mostly, finished=st.booleans(), now=mostly)
    def all_leave(self, data: st.DataObject, abruptly: bool, finished: bool, now: bool) -> None:
        """As when a proxy between a process and its workers breaks: more at once than one pass may take in."""
        self.step()
        process, _ = data.draw(st.sampled_from(self.world.connections()))
        connected = [worker for at, worker in self.world.connections() if at is process]
        for worker in connected:
            if finished:
                self._finish_all(process, worker)
            self._leave(process, worker, abruptly)
        self.turn_if(now, process)

    @precondition(has_connections)
    @rule(data=st.data(), capacity=capacities, now=mostly)
    def change_capacity(self, data: st.DataObject, capacity: int, now: bool) -> None:
        self.step()
        process, worker = data.draw(st.sampled_from(self.world.connections()))
        process.inbox.capacities.append((worker.id, capacity))
        self.turn_if(now, process)

    @precondition(has_holders)
    @rule(data=st.data(), now=mostly)
    def finish_all(self, data: st.DataObject, now: bool) -> None:
        self.step()
        process, worker = data.draw(st.sampled_from(_holders(self)))
        self._finish_all(process, worker)
        self.turn_if(now, process)

    def _finish_all(self, process: Process, worker: ModelWorker) -> None:
        for task in self.model.held_by(worker.id):
            process.inbox.reports.append(_report(worker, task.id, None, True, None))

    @precondition(has_holders)
    @rule(
        data=st.data(),
        numbered=st.booleans(),
        done=st.sampled_from((True, True, False)),
        retry=st.sampled_from((None, None, True, False)),
        repeated=st.booleans(),
        now=mostly,
    )
    def report(
        self,
        data: st.DataObject,
        numbered: bool,
        done: bool,
        retry: bool | None,
        repeated: bool,
        now: bool,
    ) -> None:
        """On a task that the worker holds, once or twice."""
        self.step()
        process, worker = data.draw(st.sampled_from(_holders(self)))
        task = data.draw(st.sampled_from(self.model.held_by(worker.id)))
        attempt = task.attempt if numbered else None
        for _ in range(1 + repeated):
            process.inbox.reports.append(_report(worker, task.id, attempt, done, retry))
        self.turn_if(now, process)

    @precondition(has_tasks)
    @rule(
        data=st.data(),
        unknown=st.sampled_from((False,) * 7 + (True,)),
        late=st.sampled_from((0, 0, None, 1, -1)),
        done=st.sampled_from((True, True, False)),
        now=mostly,
    )
    def lie(self, data: st.DataObject, unknown: bool, late: int | None, done: bool, now: bool) -> None:
        """On a task that another holds, or that it held itself once, or with a wrong number, or out of the air."""
        self.step()
        process, worker, task = self._draw_with_task(data)
        task_id = NOBODYS_TASK if unknown else task.id
        attempt = None if late is None else max(0, task.attempt - late)
        process.inbox.reports.append(_report(worker, task_id, attempt, done, retry=True))
        self.turn_if(now, process)

    @precondition(has_tasks)
    @rule(
        data=st.data(),
        seconds=st.sampled_from((None, 20.0, 200.0)),
        progress=st.sampled_from((None, 0.25, 0.75)),
        now=mostly,
    )
    def show_life(self, data: st.DataObject, seconds: float | None, progress: float | None, now: bool) -> None:
        self.step()
        process, worker, task = self._draw_with_task(data)
        process.inbox.signs.append(SignOfLife(worker.id, task.id, seconds, progress))
        self.turn_if(now, process)

    @precondition(has_tasks)
    @rule(data=st.data(), now=mostly, tick=st.booleans())
    def release(self, data: st.DataObject, now: bool, tick: bool) -> None:
        self.step()
        process, worker, task = self._draw_with_task(data)
        process.inbox.releases.append((worker.id, task.id))
        process.let_go(worker.id, task.id, None)  # as the consumer does when the frame comes
        self.turn_if(now, process, tick=tick)

    def _draw_with_task(self, data: st.DataObject) -> tuple[Process, ModelWorker, ModelTask]:
        """A worker, and a task: one that another holds, most often, or that it holds itself, or held once."""
        process, worker = data.draw(st.sampled_from(self.world.connections()))
        tasks = list(self.model.tasks.values())
        others = [task for task in tasks if task.holder not in (None, worker.id)]
        kinds = (
            others,
            others,
            [task for task in tasks if task.holder == worker.id],
            [task for task in tasks if task.holder != worker.id == task.last_holder],
        )
        kind = data.draw(st.sampled_from([kind for kind in kinds if kind] or [tasks]))
        return process, worker, data.draw(st.sampled_from(kind))


def _report(worker: ModelWorker, task_id: UUID, attempt: int | None, done: bool, retry: bool | None) -> Report:
    if done:
        return Report(worker.id, task_id, done=True, payload=f'"by w{worker.number}"', attempt=attempt)
    return Report(worker.id, task_id, done=False, error="broken", attempt=attempt, retry=retry)
