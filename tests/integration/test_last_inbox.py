"""What a process takes in at its end, when nothing more is assigned."""

from __future__ import annotations

from datetime import timedelta

import pytest
from fleet import Fleet, submit

from queueapp import database, inbox
from queueapp.conf import config
from queueapp.inbox import Inbox
from queueapp.lifecycle import Report
from queueapp.models import Task
from queueapp.passes import Outbox

pytestmark = pytest.mark.django_db(transaction=True)


def test_counts_though_it_takes_longer_than_a_lease_lasts(fleet, monkeypatch):
    """Guard: `take_in_all` renews the lease with each portion. Else others took the process for dead, and what its
    workers had done for nothing."""
    (worker,) = fleet.attach("task=t")
    tasks = submit(4)
    fleet.run()
    other, time = Fleet(), [database.now()]
    monkeypatch.setattr(database, "now", lambda: time[-1])
    monkeypatch.setattr(database, "told_time", lambda told: time[-1])
    monkeypatch.setattr(inbox, "WORK_A_PASS", 1)
    take_in = fleet.process._take_in

    def taking_most_of_a_lease(inbox: Inbox, outbox: Outbox) -> None:
        take_in(inbox, outbox)
        time.append(time[-1] + timedelta(seconds=config().lease_seconds) * 0.7)
        other.run(tick=True)

    monkeypatch.setattr(fleet.process, "_take_in", taking_most_of_a_lease)
    fleet.process.take_in_all(Inbox(reports=[Report(worker, task_id, done=True) for task_id in tasks]))
    other.unlisten()
    assert len(time) == 1 + len(tasks)
    assert set(Task.objects.values_list("state", flat=True)) == {"succeeded"}
