"""The hub on a real event loop, with its real thread."""

from __future__ import annotations

import asyncio

import pytest

from queueapp.hub import Hub
from queueapp.lifecycle import Report
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
