"""A batch that fails as a whole, and what becomes of those of its items that nothing is wrong with."""

from __future__ import annotations

from dataclasses import replace
from itertools import count

import pytest
from fleet import Fleet, holders, submit

from queueapp import inbox as inboxes
from queueapp import passes, sessions
from queueapp.domain.states import Outcome, SessionState
from queueapp.inbox import Inbox
from queueapp.models import WorkerSession, new_id
from queueapp.registration import Options, parse_query
from queueapp.sessions import Attachment, Closing

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _time_for_two_items(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that goes on by one with each look at it."""
    clock = count()
    monkeypatch.setattr(passes, "monotonic", lambda: next(clock))
    monkeypatch.setattr(passes, "SINGLY_SECONDS", 2)


def good() -> Attachment:
    query = parse_query(b"task=t", 100)
    return Attachment(new_id(), query.options, query.offers)


def bad() -> Attachment:
    """The database refuses it."""
    return replace(good(), options=Options(max_outstanding=-1))


def run_all(fleet: Fleet, inbox: Inbox) -> None:
    for _ in range(10):
        inbox = fleet.process.run(inbox).left
        if not inbox:
            return
    raise AssertionError("Something is left again and again.")


def test_are_dealt_with_one_at_a_time_only_for_so_long_and_the_others_in_the_next_pass(fleet):
    """Guard: `SINGLY_SECONDS`. Nobody would be assigned anything until five thousand of them are through."""
    first, *others = good(), good(), good()
    outbox = fleet.run(attachments=[first, bad(), *others])
    assert outbox.attached == [first]
    assert outbox.left.attachments == others
    outbox = fleet.process.run(outbox.left)
    assert (outbox.attached, bool(outbox.left)) == (others, False)


def test_that_were_given_up_come_before_what_had_to_wait_anyway(fleet, monkeypatch):
    """A worker's last word on its capacity is the one that stands."""
    monkeypatch.setattr(inboxes, "WORK_A_PASS", 20)
    worker = good()
    fleet.run(attachments=[worker])
    said = [(worker.session_id, capacity) for capacity in (2, -1, 3, 4, 5, 6)]
    outbox = fleet.run(capacities=said)
    assert outbox.left.capacities == said[2:]
    run_all(fleet, outbox.left)
    assert WorkerSession.objects.get(pk=worker.session_id).max_outstanding == 6


def test_come_before_the_end_of_their_session_whenever_their_turn_is(fleet):
    """Guard: sessions do not end while something is left. One that attached after its end would never end, and
    tasks be assigned to nobody."""
    gone = good()
    run_all(
        fleet,
        Inbox(
            attachments=[good(), bad(), gone],
            closings=[Closing(gone.session_id, Outcome.LOST, 1006)],
        ),
    )
    assert WorkerSession.objects.get(pk=gone.session_id).state == SessionState.GONE
    submit(8)
    fleet.run()
    assert gone.session_id not in holders()


def test_are_left_though_those_that_leave_cannot_be_held_back(fleet, monkeypatch):
    """Guard: what nobody foresaw about holding them back costs the pass nothing."""
    gone = good()

    def broken(*arguments, **options):
        raise ValueError("nobody foresaw it")

    monkeypatch.setattr(sessions, "drain", broken)
    closing = Closing(gone.session_id, Outcome.LOST, 1006)
    run_all(fleet, Inbox(attachments=[good(), bad(), gone], closings=[closing]))
    assert WorkerSession.objects.get(pk=gone.session_id).state == SessionState.GONE
