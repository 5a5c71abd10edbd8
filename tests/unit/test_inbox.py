"""How much of what has come in one pass takes."""

from __future__ import annotations

from dataclasses import fields
from typing import Any
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from queueapp import inbox as inboxes
from queueapp.domain.states import Outcome
from queueapp.inbox import WORK_A_PASS, Inbox
from queueapp.lifecycle import Report, SignOfLife
from queueapp.models import new_id
from queueapp.registration import parse_query
from queueapp.sessions import Attachment, Closing

WORKER, TASK = new_id(), new_id()
ORDER = tuple(inboxes._WORK)


def attachment(names: int = 1) -> Attachment:
    query = parse_query(b"task=t", 100)
    return Attachment(WORKER, query.options, query.offers * names)


def report(done: bool = True) -> Report:
    return Report(WORKER, TASK, done)


def closing() -> Closing:
    return Closing(WORKER, Outcome.LOST, 1006)


def items_of(inbox: Inbox) -> list[tuple[str, Any]]:
    return [(name, item) for name in ORDER for item in getattr(inbox, name)]


def work(inbox: Inbox) -> int:
    return sum(inboxes._WORK[name](item) for name, item in items_of(inbox))


numbers = st.sampled_from([0, 1, 3, 9, 20, 60])
full = st.builds(
    Inbox,
    attachments=st.integers(0, 3).map(lambda count: [attachment()] * count),
    reports=st.tuples(numbers, numbers).map(lambda n: [report()] * n[0] + [report(done=False)] * n[1]),
    signs=numbers.map(lambda count: [SignOfLife(WORKER, TASK)] * count),
    releases=numbers.map(lambda count: [(WORKER, TASK)] * count),
    capacities=numbers.map(lambda count: [(WORKER, 5)] * count),
    drains=numbers.map(lambda count: [WORKER] * count),
    closings=numbers.map(lambda count: [closing()] * count),
    announced=numbers.map(lambda count: [TASK] * count),
    wanted=numbers.map(lambda count: [TASK] * count),
    routes=st.just([TASK]),
    tick=st.booleans(),
)


@given(full)
def test_a_portion_is_the_beginning_in_the_order_of_things_and_the_rest_is_left(inbox: Inbox):
    with patch.object(inboxes, "WORK_A_PASS", 50):
        now, later = inbox.portion()
    assert items_of(now) + items_of(later) == items_of(inbox)
    assert work(now) <= 50
    if later:
        ((name, first), *_) = items_of(later)
        assert work(now) + inboxes._WORK[name](first) > 50
    for each in fields(Inbox):
        if each.name not in ORDER:
            assert getattr(now, each.name) == getattr(inbox, each.name)


def test_what_is_usual_is_taken_as_a_whole():
    now, later = Inbox(reports=[report()] * 2000, closings=[closing()] * 5000).portion()
    assert (len(now.reports), len(now.closings), bool(later)) == (2000, 5000, False)


def test_what_is_too_much_by_itself_is_taken_alone():
    """Else it would be left for ever, and all that came after it."""
    now, later = Inbox(attachments=[attachment(20 * WORK_A_PASS), attachment()]).portion()
    assert (len(now.attachments), len(later.attachments)) == (1, 1)
