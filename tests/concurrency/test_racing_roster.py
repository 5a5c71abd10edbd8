"""Changes of the workers that a pass could not see yet: the next one sees them."""

from __future__ import annotations

import pytest
from django.db import transaction

from queueapp.models import Task, WorkerSession
from tests.concurrency.interleaving import BEFORE_COMMIT, Party
from tests.integration.fleet import holders, submit

pytestmark = pytest.mark.django_db(transaction=True)


def raise_capacity():
    with transaction.atomic():
        WorkerSession.objects.update(max_outstanding=3)


def test_a_change_that_began_before_a_pass_and_ends_after_it_is_not_missed(here):
    """Guard: what the next pass reads begins with the oldest transaction that was not over, not with the newest
    that was. The change is older than what the pass saw, and was not seen."""
    [worker] = here.attach("task=t&_max_outstanding=1")
    submit(3)
    here.run()
    with Party(raise_capacity, BEFORE_COMMIT) as other:
        other.until_it_stops()
        Task.objects.pending().update(priority=1)  # newer transactions, that are over
        here.run(roster=True)
        Task.objects.pending().update(priority=2)
        other.go_on()
        other.result()
    here.run(roster=True)
    assert holders() == {worker: 3}
