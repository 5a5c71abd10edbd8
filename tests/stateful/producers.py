"""What producers do, over whatever process they reach: submit, cancel, retry."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from queueapp import lifecycle
from queueapp.domain.submission import Limits, parse_submission
from queueapp.lifecycle import Report
from queueapp.models import Task
from stateful.machine import NAMES, Machine, mostly
from stateful.model import ModelTask, ModelWorker
from stateful.process import Process
from stateful.turns import turn

HALF = 0.5
"""A spill falls between whole seconds, where nothing else happens: see `clock.STEP`."""

attrs = st.sampled_from(
    (
        {"cloud": "aws", "zone": "a"},
        {"cloud": "aws", "zone": "a"},
        {"cloud": "aws", "zone": "b"},
        {"cloud": "gcp"},
        {},
    )
)
members = st.one_of(
    st.tuples(st.just("max_attempts"), st.integers(1, 2)),
    st.tuples(st.just("retry_on"), st.sampled_from(([], ["error"], ["error", "lost", "timeout"]))),
    st.tuples(st.just("backoff"), st.sampled_from(({"initial": 0}, {"initial": 2, "factor": 3}))),
    st.tuples(st.just("delay"), st.sampled_from((0, 3))),
    st.tuples(st.just("available_at"), st.sampled_from(("2020-01-01T00:00:00Z", "2020-01-02T00:00:00Z"))),
    st.tuples(st.just("expires_in"), st.sampled_from((2, 20))),
    st.tuples(st.just("unique_key"), st.sampled_from(("k", "l"))),
    st.tuples(st.just("unique_key"), st.just("k")),
    st.tuples(st.just("concurrency_key"), st.sampled_from(("k", "k", "l"))),
    st.tuples(st.just("concurrency_key"), st.just("k")),
)
documents = st.builds(
    lambda extra, **members: dict(extra) | members,
    st.lists(members, max_size=2).filter(lambda some: not {"delay", "available_at"} <= dict(some).keys()),
    name=st.sampled_from(NAMES),
    attrs=attrs,
    priority=st.integers(-1, 1),
    timeout=st.sampled_from((4, 9, 300)),
    spill_after=st.sampled_from((None, None, 0, HALF, 2 + HALF)),
)
submissions = st.builds(
    lambda documents, copies: documents * copies,
    st.lists(documents, min_size=1, max_size=3),
    st.integers(1, 4),
)
"""Most tasks are plain and alike: what is delayed or expired, and what is alone on its route, makes no rivalry."""


def has_tasks(machine: Machine) -> bool:
    return bool(machine.model.tasks)


def is_served(machine: Machine) -> bool:
    return bool(_online(machine))


def _online(machine: Machine) -> list[tuple[Process, ModelWorker]]:
    return [
        (process, worker)
        for process, worker in machine.world.connections()
        if worker.state == "online" and worker.id in machine.model.workers
    ]


def _ended_with_keys(machine: Machine) -> list[ModelTask]:
    return [task for task in machine.model.tasks.values() if task.unique_key is not None and not task.live]


class Producers(Machine):
    @initialize(data=st.data(), submitted=submissions)
    def begin_with_tasks(self, data: st.DataObject, submitted: list[dict[str, Any]]) -> None:
        self._submit(self._draw_process(data), submitted)

    @rule(
        data=st.data(),
        submitted=submissions,
        now=mostly,
    )
    def submit(self, data: st.DataObject, submitted: list[dict[str, Any]], now: bool) -> None:
        self.step()
        process = self._draw_process(data)
        self._submit(process, submitted)
        self.turn_if(now, process)

    @precondition(is_served)
    @rule(
        data=st.data(),
        number=st.integers(1, 3),
        spill_after=st.sampled_from((None, 2 + HALF)),
        key=st.sampled_from((None, None, "k")),
        finishing=st.booleans(),
        now=mostly,
    )
    def rush(
        self,
        data: st.DataObject,
        number: int,
        spill_after: float | None,
        key: str | None,
        finishing: bool,
        now: bool,
    ) -> None:
        """Many at once, on two routes, for some worker, who may have finished one before: its equals share them,
        and those behind it wait."""
        self.step()
        process, worker = data.draw(st.sampled_from(_online(self)))
        held = self.model.held_by(worker.id)
        if finishing and held:
            process.inbox.reports.append(Report(worker.id, held[0].id, done=True))
            turn(self.world, process)
            self.step()
        offer = data.draw(st.sampled_from(worker.subscriptions))
        attrs = {criterion: values[0] for criterion, values in offer["filter"].items()}
        document = {
            "name": offer["name"],
            "attrs": attrs,
            "priority": 0,
            "timeout": 300,
            "spill_after": spill_after,
            "concurrency_key": key,
        }
        self._submit(process, [document, document | {"attrs": attrs | {"more": "of it"}}] * number)
        self.turn_if(now, process)

    def _submit(self, process: Process | None, submitted: list[dict[str, Any]]) -> None:
        parsed = [parse_submission(document, self.world.now, Limits()) for document in submitted]
        with self.world.news_from(process):
            receipts = lifecycle.submit(parsed, None, self.world.now)
        routes = dict(Task.objects.values_list("id", "route_id"))
        for document, receipt in zip(submitted, receipts, strict=True):
            live = self.model.live_with_key(document["name"], document.get("unique_key", ""))
            assert receipt.created == (live is None)
            if live is None:
                task = self._task(document, receipt.task_id, routes[receipt.task_id])
                self.model.tasks[task.id] = task
            else:
                assert receipt.task_id == live.id

    @precondition(has_tasks)
    @rule(data=st.data(), now=mostly)
    def cancel(self, data: st.DataObject, now: bool) -> None:
        self.step()
        process = self._draw_process(data)
        self._cancel(process, self._draw_tasks(data))
        self.turn_if(now, process)

    @precondition(has_tasks)
    @rule(data=st.data(), now=mostly)
    def retry(self, data: st.DataObject, now: bool) -> None:
        self.step()
        process = self._draw_process(data)
        self._retry(process, self._draw_tasks(data))
        self.turn_if(now, process)

    @precondition(lambda self: bool(_ended_with_keys(self)))
    @rule(data=st.data(), taken=st.booleans(), given_up=st.booleans(), retry=mostly, now=mostly)
    def contend_for_a_key(self, data: st.DataObject, taken: bool, given_up: bool, retry: bool, now: bool) -> None:
        """By a new task, and by retries of all that had it: at most one of them is live."""
        self.step()
        process = self._draw_process(data)
        one = data.draw(st.sampled_from(_ended_with_keys(self)))
        if taken:
            document = {"name": one.name, "attrs": one.attrs, "priority": 0, "timeout": 300, "spill_after": None}
            self._submit(process, [document | {"unique_key": one.unique_key}])
        live = one.unique_key and self.model.live_with_key(one.name, one.unique_key)
        if live and given_up:
            self._cancel(process, [live])
            self.world.audit()
        if retry:
            key = one.name, one.unique_key
            self._retry(process, [task for task in _ended_with_keys(self) if (task.name, task.unique_key) == key])
        self.turn_if(now, process)

    def _cancel(self, process: Process | None, tasks: list[ModelTask]) -> None:
        expected = {task.id for task in tasks if task.live}
        with self.world.news_from(process):
            assert lifecycle.cancel([task.id for task in tasks], self.world.now) == expected
        for task_id in expected:
            self.model.tasks[task_id].end("cancelled", self.world.now)

    def _retry(self, process: Process | None, tasks: list[ModelTask]) -> None:
        expected = set()
        for task in sorted(tasks, key=lambda task: task.number):
            taken = task.unique_key is not None and self.model.live_with_key(task.name, task.unique_key)
            if not task.live and not taken:
                task.start_again(self.world.now)
                del self.world.ended[task.id]
                expected.add(task.id)
        with self.world.news_from(process):
            assert lifecycle.retry([task.id for task in tasks], self.world.now) == expected

    def _draw_process(self, data: st.DataObject) -> Process | None:
        """None: a command, which is no server."""
        return data.draw(st.sampled_from([*self.world.processes * 2, None]))

    def _draw_tasks(self, data: st.DataObject) -> list[ModelTask]:
        tasks = list(self.model.tasks.values())
        return data.draw(st.lists(st.sampled_from(tasks), min_size=1, max_size=3, unique_by=id))

    def _task(self, document: dict[str, Any], task_id: Any, route: Any) -> ModelTask:
        """As the contract's table of fields and defaults has it."""
        now = self.world.now
        delay, expires_in = document.get("delay", 0), document.get("expires_in")
        waiting_since = available_at = now + timedelta(seconds=delay)
        if "available_at" in document:
            available_at = datetime.fromisoformat(document["available_at"])
        return ModelTask(
            number=len(self.model.tasks) + 1,
            id=task_id,
            route=route,
            name=document["name"],
            attrs=document["attrs"],
            priority=document["priority"],
            timeout=document["timeout"],
            max_attempts=document.get("max_attempts", 4),
            retry_on=document.get("retry_on", ["lost", "timeout"]),
            backoff={"initial": 1, "factor": 2, "max": 600} | document.get("backoff", {}),
            spill_after=document["spill_after"],
            expires_at=None if expires_in is None else now + timedelta(seconds=expires_in),
            unique_key=document.get("unique_key"),
            concurrency_key=document.get("concurrency_key"),
            available_at=available_at,
            delayed_until=available_at if delay else None,
            waiting_since=waiting_since,
        )
