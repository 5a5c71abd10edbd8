"""The hub on a real event loop, with its real thread."""

from __future__ import annotations

import asyncio
import gc
import warnings

import pytest

from queueapp.hub import Hub
from queueapp.lifecycle import Report
from queueapp.link import Link
from queueapp.models import new_id
from queueapp.passes import Inbox, Outbox, Pass

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
