"""Snapshots for the page of errors: how many have come, and of which causes."""

from __future__ import annotations

from datetime import timedelta

import pytest
from admin_rows import Stage
from channels.db import database_sync_to_async as in_thread
from operator_sockets import rows_of, snapshot, until, viewer, watching

from queueapp.models import Attempt

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("nothing_is_remembered", "connections_are_given_back"),
]


class TestOfErrors:
    async def test_count_those_that_have_come_by_their_causes(self, stage: Stage) -> None:
        worker = await in_thread(stage.worker)()
        await in_thread(stage.failed)(worker)
        known = await in_thread(Attempt.objects.get)()
        watch = rows_of("errors", known.error_group, since=known.ended_at.isoformat())
        async with watching(await viewer(), watch) as watcher:
            first = await snapshot(watcher)
            assert (first["newer"], first["causes"]) == (0, 0)
            stage.now += timedelta(seconds=1)
            await in_thread(stage.failed)(worker)
            await in_thread(stage.failed)(worker, error="another cause")
            found = await until(watcher, lambda now: now["newer"] == 2)
        assert found["causes"] == 1
        assert found["rows"] == {str(known.error_group): {"more": 1}}
