"""Snapshots for a page that shows operations: how far they are."""

from __future__ import annotations

import pytest
from admin_rows import Stage
from channels.db import database_sync_to_async as in_thread
from operator_sockets import rows_of, told, until, viewer, watching

from queueapp import operations
from queueapp.domain.states import Action
from queueapp.models import Operation

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("nothing_is_remembered", "connections_are_given_back"),
]


class TestOfOperations:
    async def test_tell_how_far_they_are(self, stage: Stage) -> None:
        def begin() -> Operation:
            return operations.start(
                Action.CANCEL, {"name": "tag"}, tasks_of=None, names=None, asked_by="ada", now=stage.now
            )

        await in_thread(stage.tasks)(4)
        operation = await in_thread(begin)()
        client = await viewer()
        for watch in (f"watch=operation/{operation.pk}", rows_of("operations", operation.pk, newer="1")):
            found = await told(client, watch)
            assert found.get("rows", {str(operation.pk): found})[str(operation.pk)] == {
                "state": "running",
                "total": 4,
                "done": 0,
                "unchanged": 0,
                "is_counted": True,
            }
        async with watching(client, rows_of("operations", operation.pk, newer="1")) as watcher:
            assert await in_thread(operations.carry_on)(operation.pk)
            await in_thread(begin)()
            found = await until(watcher, lambda now: now["newer"] == 1)
        assert found["rows"][str(operation.pk)]["state"] == "done"
