"""The hub on a real event loop, with its real thread."""

from __future__ import annotations

import asyncio
import gc
import warnings
from contextlib import closing
from uuid import UUID

import pytest
from asgiref.sync import sync_to_async
from django.db import connection
from fleet import submit

from queueapp import database, doorbell, lifecycle
from queueapp.hub import Hub
from queueapp.lifecycle import Report
from queueapp.link import Link
from queueapp.models import new_id
from queueapp.passes import Inbox, Outbox, Pass
from queueapp.registration import parse_query
from queueapp.sessions import Attachment

PATIENCE_SECONDS = 60

pytestmark = pytest.mark.django_db(transaction=True)


async def test_what_a_worker_says_during_the_last_pass_is_not_put_into_it(monkeypatch):
    """Its sockets are open until that pass is over: one that grows while it is dealt with fails."""
    hub = Hub()
    hub.start()
    run, grown = Pass.run, []

    def said_meanwhile(self: Pass, inbox: Inbox, *rest) -> Outbox:
        if hub._stopping:
            before = len(inbox.reports)
            hub.inbox.reports.append(Report(new_id(), new_id(), done=True))
            grown.append(len(inbox.reports) - before)
        return run(self, inbox, *rest)

    monkeypatch.setattr(Pass, "run", said_meanwhile)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while hub._pass is None:  # noqa: ASYNC110 - its own task enters it as a node
            await asyncio.sleep(0.01)
    await hub.stop(grace_seconds=0)
    assert grown[-1] == 0


async def test_an_orderly_stop_does_not_wait_for_a_task_whose_revocation_nobody_heard():
    """The comparison at the tick lets go of it, while the workers are drained too."""
    hub = Hub()
    hub.start()
    closed: list[int] = []

    async def send(text: str) -> None:
        """To nobody."""

    async def close(code: int, reason: str) -> None:
        closed.append(code)

    query = parse_query(b"task=t", 10)
    link = Link(new_id(), True, False, 10, send, close)
    hub.attach(link, Attachment(link.session_id, query.options, query.offers))

    def submit_one() -> UUID:
        with closing(connection):
            return submit()[0]

    def cancel_unheard() -> None:
        with closing(connection), doorbell.held():
            assert lifecycle.cancel([task_id], database.now()) == {task_id}

    task_id = await sync_to_async(submit_one)()

    async with asyncio.timeout(PATIENCE_SECONDS):
        while not link.held:  # noqa: ASYNC110 - the hub's own task sends it
            await asyncio.sleep(0.01)
        await sync_to_async(cancel_unheard)()
        await hub.stop(grace_seconds=10 * PATIENCE_SECONDS)
    assert not link.held
    assert closed == [1012]


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
