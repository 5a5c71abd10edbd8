"""The audit log is searched from its indexes, and read from its newest end."""

from __future__ import annotations

import pytest
from plans import analyse, plans_of

from queueapp import audit
from queueapp.admin.audit import found_by
from queueapp.models import AuditEntry

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.only_on("sqlite", reason="plans are read as SQLite writes them"),
]


@pytest.fixture(autouse=True)
def entries() -> None:
    for number in range(200):
        actor = audit.Actor(f"user {number % 20}", user_id=number % 20)
        audit.record(actor, ("cancel", "pause")[number % 2], kind="task", subject=f"task {number}")
    analyse()


def plan(queryset) -> str:
    [plan] = plans_of(lambda: list(queryset))
    return plan


@pytest.mark.parametrize("column", ["who", "action", "subject"])
def test_a_filter_reads_the_newest_of_its_own_from_an_index_in_their_order(column: str) -> None:
    found = plan(AuditEntry.objects.filter(**{column: "cancel"}).order_by("-id")[:50])
    assert f"USING INDEX audit_by_{column} ({column}=?)" in found
    assert "B-TREE" not in found


@pytest.mark.parametrize(("word", "column"), [("user 7", "who"), ("pause", "action"), ("task 7", "subject")])
def test_a_word_is_looked_up_where_it_is(word: str, column: str) -> None:
    condition = found_by(word)
    assert condition is not None
    found = plan(AuditEntry.objects.filter(condition).order_by("-id")[:50])
    assert f"USING INDEX audit_by_{column} ({column}=?)" in found
    assert "B-TREE" not in found


def test_a_word_that_is_nowhere_is_not_looked_for() -> None:
    assert found_by("nobody") is None


def test_the_newest_are_read_from_the_end() -> None:
    assert "B-TREE" not in plan(AuditEntry.objects.order_by("-id")[:50])
