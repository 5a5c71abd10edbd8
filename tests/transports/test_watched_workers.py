"""Snapshots for a page that shows workers: what they hold, and who comes and goes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from admin_rows import Stage
from channels.db import database_sync_to_async as in_thread
from operator_sockets import rows_of, snapshot, until, viewer, watching

from queueapp import sessions, snapshots

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.usefixtures("nothing_is_remembered", "connections_are_given_back"),
]


class TestOfWorkers:
    async def test_tell_what_they_hold_and_who_has_come(self, stage: Stage) -> None:
        worker = await in_thread(stage.worker)()
        async with watching(await viewer(), rows_of("workers", worker, newer="1")) as watcher:
            first = await snapshot(watcher)
            assert first["newer"] == 0
            assert first["rows"][str(worker)] == {
                "state": "online",
                "outstanding": 0,
                "max_outstanding": 10,
                "done": 0,
                "errors": 0,
                "per_minute": 0,
            }
            await in_thread(stage.assign)(worker, *await in_thread(stage.tasks)(2))
            await in_thread(stage.worker)("w8")
            found = await until(watcher, lambda now: now["newer"] == 1)
            assert found["rows"][str(worker)]["outstanding"] == 2
            await in_thread(stage.close)([worker])
            await until(watcher, lambda now: now["rows"][str(worker)]["state"] == "gone")

    async def test_of_one_say_when_it_gave_a_sign_of_life(self, stage: Stage) -> None:
        worker = await in_thread(stage.worker)()
        async with watching(await viewer(), f"watch=worker/{worker}") as watcher:
            first = await snapshot(watcher)
            assert (first["outstanding"], first["stale_results"]) == (0, 0)
            assert first["heartbeat"] >= 0
            await in_thread(stage.assign)(worker, *await in_thread(stage.tasks)(1))
            held = await until(watcher, lambda now: now["outstanding"] == 1)
            assert held["held"] != first["held"]
            await in_thread(sessions.stop_node)(stage.node_id, stage.now)
            await until(watcher, lambda now: now["heartbeat"] is None)

    def test_are_marked_alike_in_every_process(self) -> None:
        """A page that hears from one after another would believe each time that something has changed."""
        rows = [("0197f3a1-0000-7000-8000-000000000001", 1, None)]
        asking = [
            "manage.py",
            "shell",
            "--no-imports",
            "-c",
            f"from queueapp import snapshots; print(snapshots._mark({rows}))",
        ]
        other = subprocess.run(
            [sys.executable, *asking],
            env=os.environ | {"DEBUG": "1"},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
        assert other.stdout.strip() == snapshots._mark(rows)
