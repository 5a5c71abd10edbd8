"""The hub on a real event loop, with its real thread."""

from __future__ import annotations

import asyncio
import gc
import json
import threading
import warnings
from contextlib import closing
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError, connection
from fleet import submit

from queueapp import database, doorbell, handover, lifecycle, sessions
from queueapp import hub as hubs
from queueapp import inbox as inboxes
from queueapp.domain.states import Outcome
from queueapp.handover import Held
from queueapp.hub import Hub
from queueapp.inbox import Inbox
from queueapp.lifecycle import Report
from queueapp.link import Link
from queueapp.models import Task, new_id
from queueapp.passes import Outbox, Pass
from queueapp.registration import parse_query
from queueapp.sessions import Attachment

PATIENCE_SECONDS = 60

pytestmark = pytest.mark.django_db(transaction=True)


async def test_what_a_worker_says_during_the_last_pass_is_not_put_into_it(monkeypatch):
    """Its sockets are open until that pass is over: one that grows while it is dealt with fails."""
    hub = Hub()
    hub.start()
    take_in_all, grown = Pass.take_in_all, []

    def said_meanwhile(self: Pass, inbox: Inbox) -> None:
        before = len(inbox.reports)
        hub.inbox.reports.append(Report(new_id(), new_id(), done=True))
        grown.append(len(inbox.reports) - before)
        take_in_all(self, inbox)

    monkeypatch.setattr(Pass, "take_in_all", said_meanwhile)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while hub._pass is None:  # noqa: ASYNC110 - its own task enters it as a node
            await asyncio.sleep(0.01)
    await hub.stop(grace_seconds=0)
    assert grown[-1] == 0


class Worker:
    """The link of a worker that speaks v1, and what it is sent."""

    def __init__(self, hub: Hub) -> None:
        self.kinds: list[str] = []
        self.closed: list[int] = []
        query = parse_query(b"task=t", 10)
        self.link = Link(new_id(), True, False, 10, self._send, self._close)
        hub.attach(self.link, Attachment(self.link.session_id, query.options, query.offers))

    async def _send(self, text: str) -> None:
        self.kinds.append(json.loads(text)["kind"])

    async def _close(self, code: int, reason: str) -> None:
        self.closed.append(code)

    async def until_it_has_heard(self, number: int) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(self.kinds) < number:  # noqa: ASYNC110 - as below
                await asyncio.sleep(0.01)

    async def until_it_holds(self, number: int) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(self.link.held) != number:  # noqa: ASYNC110 - the hub's own task sends, and lets go
                await asyncio.sleep(0.01)


async def welcomed() -> tuple[Hub, Worker]:
    """A worker, and the hub that has welcomed it."""
    hub = Hub()
    hub.start()
    worker = Worker(hub)
    await worker.until_it_has_heard(1)
    return hub, worker


def one_task_a_pass(settings: Any, poll_interval_seconds: float = 2 * PATIENCE_SECONDS) -> None:
    """Without a tick, unless it is to come sooner."""
    settings.WORKQUEUE = replace(settings.WORKQUEUE, pass_size=1, poll_interval_seconds=poll_interval_seconds)


def submitted(count: int) -> list[UUID]:
    with closing(connection):
        return submit(count)


def cancel_unheard(task_id: UUID) -> None:
    with closing(connection), doorbell.held():
        assert lifecycle.cancel([task_id], database.now()) == {task_id}


async def test_an_orderly_stop_does_not_wait_for_a_task_whose_revocation_nobody_heard():
    """The comparison at the tick lets go of it, while the workers are drained too."""
    hub, worker = await welcomed()
    [task_id] = await sync_to_async(submitted)(1)
    await worker.until_it_holds(1)
    await sync_to_async(cancel_unheard)(task_id)
    async with asyncio.timeout(PATIENCE_SECONDS):
        await hub.stop(grace_seconds=10 * PATIENCE_SECONDS)
    assert not worker.link.held
    assert worker.closed == [1012]


async def test_of_a_revocation_that_is_heard_after_the_tick_has_found_it_the_worker_is_told_once():
    hub, worker = await welcomed()
    [task_id] = await sync_to_async(submitted)(1)
    await worker.until_it_holds(1)
    await sync_to_async(cancel_unheard)(task_id)
    await worker.until_it_holds(0)
    late = doorbell.Revoked(worker.link.session_id, task_id, 1, "cancelled")
    hub._hear(doorbell.Ring(revoked=(late,), foreign=True))
    await hub.stop(grace_seconds=PATIENCE_SECONDS)
    assert worker.kinds.count("cancel") == 1


async def test_a_pass_that_follows_at_once_begins_before_workers_are_told_of_the_last(settings, monkeypatch):
    one_task_a_pass(settings)
    done: list[str] = []
    begin, send = Hub._in_thread, Hub._send
    monkeypatch.setattr(Hub, "_in_thread", lambda self, work: (done.append("begun"), begin(self, work))[1])
    monkeypatch.setattr(
        Hub, "_send", lambda self, outbox: (done.append(f"told {len(outbox.assignments)}"), send(self, outbox))[1]
    )
    hub, worker = await welcomed()
    await sync_to_async(submitted)(3)
    await worker.until_it_holds(3)
    await hub.stop(grace_seconds=0)
    first = done.index("told 1")
    assert done[first - 3 : first + 3] == ["told 0", "begun", "begun", "told 1", "begun", "told 1"]
    assert worker.kinds.count("task") == 3


@pytest.mark.only_on("postgresql", reason="on SQLite workers are told of a pass before all else")
async def test_a_task_that_is_cancelled_before_its_worker_was_told_of_it_is_told_of_first(settings, monkeypatch):
    """Guard: in `_hear`. The next pass lasts until then, and no tick comes that would compare."""
    one_task_a_pass(settings)
    monkeypatch.setattr(hubs, "TELLING_AFTER_SECONDS", PATIENCE_SECONDS)
    run, hear, assigned, heard = Pass.run, Hub._hear, [], threading.Event()

    def cancelling_what_was_assigned_first(self: Pass, inbox: Inbox, *rest) -> Outbox:
        if len(assigned) == 1:
            assert lifecycle.cancel(assigned, database.now())
            assert heard.wait(PATIENCE_SECONDS)
        outbox = run(self, inbox, *rest)
        assigned.extend(assignment.task.task_id for assignment in outbox.assignments)
        return outbox

    def noting(self: Hub, news: doorbell.Ring) -> None:
        hear(self, news)
        if news.revoked:
            heard.set()

    monkeypatch.setattr(Pass, "run", cancelling_what_was_assigned_first)
    monkeypatch.setattr(Hub, "_hear", noting)
    hub, worker = await welcomed()
    await sync_to_async(submitted)(2)
    await worker.until_it_has_heard(3)
    await hub.stop(grace_seconds=0)
    assert worker.kinds[:3] == ["welcome", "task", "cancel"]


@pytest.mark.only_on("postgresql", reason="on SQLite nothing is taken in beside")
async def test_what_could_not_be_taken_in_beside_is_taken_in_later_and_workers_are_told_of_their_tasks(
    settings, monkeypatch
):
    """Guard: what is `left`. No tick comes that would compare."""
    one_task_a_pass(settings)
    run, finish, failed = Pass.run, lifecycle.finish, []

    def reported_after_the_first(self: Pass, inbox: Inbox, *rest) -> Outbox:
        outbox = run(self, inbox, *rest)
        if outbox.assignments and not failed:
            [assignment] = outbox.assignments
            hub.inbox.reports.append(Report(worker.link.session_id, assignment.task.task_id, done=True))
        return outbox

    def failing_once(*arguments):
        if failed:
            return finish(*arguments)
        failed.append(True)
        raise OperationalError("the connection is gone")

    monkeypatch.setattr(Pass, "run", reported_after_the_first)
    monkeypatch.setattr(lifecycle, "finish", failing_once)
    hub, worker = await welcomed()
    await sync_to_async(submitted)(3)
    await worker.until_it_has_heard(5)
    assert worker.kinds == ["welcome", "task", "task", "ack", "task"]
    await hub.stop(grace_seconds=0)


async def test_what_workers_cannot_be_told_of_one_pass_costs_the_next_nothing(settings, monkeypatch):
    """Guard: `_tell_the_untold` raises nothing. The next pass has been begun, or its inbox been taken, by then."""
    one_task_a_pass(settings)
    send, failed = Hub._send, []

    def failing_once(self: Hub, outbox: Outbox) -> None:
        if outbox.assignments and not failed:
            failed.append(True)
            raise RuntimeError("nobody foresaw that")
        send(self, outbox)

    monkeypatch.setattr(Hub, "_send", failing_once)
    hub, worker = await welcomed()
    await sync_to_async(submitted)(3)
    await worker.until_it_holds(2)
    await hub.stop(grace_seconds=0)
    assert worker.kinds == ["welcome", "task", "task"]


async def test_what_a_tick_compares_is_what_workers_have_been_told(settings, monkeypatch):
    """Guard: they are told of the last pass before it. Each pass here is a tick."""
    one_task_a_pass(settings, poll_interval_seconds=0)
    numbers: list[tuple[int, int]] = []
    run = Pass.run

    def noted(self: Pass, inbox: Inbox, held: Held | None = None) -> Outbox:
        before = sum(map(len, held.values())) if held else 0
        outbox = run(self, inbox, held)
        numbers.append((before, len(outbox.assignments)))
        return outbox

    monkeypatch.setattr(Pass, "run", noted)
    hub, worker = await welcomed()
    await sync_to_async(submitted)(3)
    await worker.until_it_holds(3)
    await hub.stop(grace_seconds=0)
    assert [each for each in numbers if each[1]] == [(0, 1), (1, 1), (2, 1)]


async def test_a_loop_that_ends_before_a_socket_is_closed_leaves_nothing_unawaited():
    async def send(_: object) -> None: ...
    async def close(*_: object) -> None: ...

    hub, session_id = Hub(), new_id()
    hub._links[session_id] = Link(session_id, True, False, 1, send, close)
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        hub._close([(session_id, 4409, "Disconnected by an operator.")])
        closing = asyncio.all_tasks() - {asyncio.current_task()}
        assert len(closing) == 1
        for task in closing:
            task.cancel()
        await asyncio.wait(closing)
        gc.collect()
    assert [str(each.message) for each in heard] == []


async def holding(hub: Hub, worker: Worker, count: int) -> list[UUID]:
    tasks = await sync_to_async(submitted)(count)
    await worker.until_it_holds(count)
    return tasks


def number_succeeded() -> int:
    with closing(connection):
        return Task.objects.filter(state="succeeded").count()


async def test_who_waits_until_all_is_dealt_with_waits_for_what_a_pass_has_left_too(monkeypatch):
    """A worker is read no faster than what it says is taken in, however little that is."""
    hub, worker = await welcomed()
    tasks = await holding(hub, worker, 10)
    monkeypatch.setattr(inboxes, "WORK_A_PASS", 1)
    hub.inbox.reports.extend(Report(worker.link.session_id, task_id, done=True) for task_id in tasks)
    async with asyncio.timeout(PATIENCE_SECONDS):
        await hub.dealt_with()
    assert await sync_to_async(number_succeeded)() == 10
    await hub.stop(grace_seconds=PATIENCE_SECONDS)


async def test_what_was_said_before_the_last_pass_counts_though_it_is_too_much_for_one(monkeypatch):
    hub, worker = await welcomed()
    tasks = await holding(hub, worker, 10)
    monkeypatch.setattr(inboxes, "WORK_A_PASS", 1)
    hub.inbox.reports.extend(Report(worker.link.session_id, task_id, done=True) for task_id in tasks)
    await hub.stop(grace_seconds=0)
    assert await sync_to_async(number_succeeded)() == 10


async def test_who_waits_until_all_is_dealt_with_does_not_wait_for_the_ends_of_others(monkeypatch):
    """They may take long, and what it says meanwhile would be heard too late."""
    hub, worker = await welcomed()
    with monkeypatch.context() as patched:
        patched.setattr(sessions, "close_some", lambda closings, now: (set(), list(closings)))
        hub.detach(worker.link.session_id, Outcome.LOST, 1006, "")
        async with asyncio.timeout(PATIENCE_SECONDS):
            await hub.dealt_with()
        assert hub.inbox.closings or not hub._wake.is_set()
    await hub.stop(grace_seconds=PATIENCE_SECONDS)


async def test_a_worker_asks_for_more_only_when_it_was_answered_whole(monkeypatch):
    """Else all that it was not sent yet would be asked for, and read, at once."""
    hub, worker = await welcomed()
    tasks = await holding(hub, worker, 5)
    monkeypatch.setattr(inboxes, "WORK_A_PASS", 2)
    read: list[UUID] = []
    read_when_answered: list[int] = []
    monkeypatch.setattr(handover, "in_full", lambda task_ids, held: read.extend(task_ids) or [])
    monkeypatch.setattr(Link, "answered", lambda link: read_when_answered.append(len(read)))
    hub._ask_again(worker.link, tasks)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not read_when_answered:  # noqa: ASYNC110 - the hub's own task answers
            await asyncio.sleep(0.01)
    assert read_when_answered == [5]
    await hub.stop(grace_seconds=0)
