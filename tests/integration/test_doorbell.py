"""News that somebody holds: what is committed, when it is, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from django.db import transaction

from queueapp import doorbell
from queueapp.models import new_id

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def heard() -> Iterator[list[doorbell.Ring]]:
    rings: list[doorbell.Ring] = []
    unlisten = doorbell.listen(rings.append)
    yield rings
    unlisten()


FIRST, SECOND, THIRD = (doorbell.Ring(ended=frozenset({new_id()})) for _ in range(3))


def ring(news: doorbell.Ring) -> None:
    doorbell.ring(ended=news.ended)


class TestWhoHoldsNews:
    def test_has_it_at_once_where_there_is_no_transaction(self, heard):
        with doorbell.held() as rings:
            ring(FIRST)
            assert rings == [FIRST]
        assert heard == []

    def test_has_it_when_it_is_committed_and_not_before(self, heard):
        with doorbell.held() as rings:
            with transaction.atomic():
                ring(FIRST)
                assert rings == []
            assert rings == [FIRST]
        assert heard == []

    def test_has_nothing_of_a_transaction_that_was_undone(self, heard):
        with doorbell.held() as rings:
            with transaction.atomic():
                ring(FIRST)
                transaction.set_rollback(True)
            with transaction.atomic():
                ring(SECOND)
        assert (rings, heard) == ([SECOND], [])

    def test_has_nothing_of_a_part_of_one_that_was_undone(self, heard):
        with doorbell.held() as rings, transaction.atomic():
            ring(FIRST)
            with transaction.atomic():
                ring(SECOND)
                transaction.set_rollback(True)
            ring(THIRD)
        assert (rings, heard) == ([FIRST, THIRD], [])

    def test_has_what_was_committed_before_a_failure(self, heard):
        def fail() -> None:
            with transaction.atomic():
                ring(FIRST)
            with transaction.atomic():
                ring(SECOND)
                raise ValueError("nobody foresaw this")

        with pytest.raises(ValueError, match="nobody foresaw this"), doorbell.held() as rings:
            fail()
        assert (rings, heard) == ([FIRST], [])


class TestACommitThatComesLater:
    def test_than_the_holder_looks_tells_all(self, heard):
        """Guard: `_pass_on`. Nobody looks into that list any more, so the news would be lost."""
        with transaction.atomic():
            with doorbell.held() as rings:
                ring(FIRST)
            assert heard == []
        assert (rings, heard) == ([], [FIRST])

    def test_is_no_news_for_who_holds_what_is_rung_by_then(self, heard):
        """Guard: `ring` notes who held when it rang. A holder has what its own work has done."""
        with ExitStack() as work:
            work.enter_context(transaction.atomic())
            ring(FIRST)
            with doorbell.held() as earlier:
                ring(SECOND)
            with doorbell.held() as later:
                work.close()
        assert (earlier, later, heard) == ([], [], [FIRST, SECOND])
