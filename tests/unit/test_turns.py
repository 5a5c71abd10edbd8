"""Writers take turns in the order in which they came, and nobody's turn is lost."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from queueapp.sqlite.turns import Turns

LONG = 60.0


def in_line(turns: Turns, number: int) -> None:
    """Return when so many wait."""
    while len(turns._waiting) < number:
        pass


class TestTurns:
    def test_are_taken_at_once_where_nobody_has_one(self) -> None:
        turns = Turns()
        for _ in range(2):
            assert turns.take(0)
            turns.hand_on()

    def test_go_to_whoever_has_waited_longest(self) -> None:
        turns, order = Turns(), []
        assert turns.take(0)

        def take(number: int) -> None:
            assert turns.take(LONG)
            order.append(number)
            turns.hand_on()

        with ThreadPoolExecutor(5) as threads:
            for number in range(5):
                threads.submit(take, number)
                in_line(turns, number + 1)
            turns.hand_on()
        assert order == [0, 1, 2, 3, 4]

    def test_are_not_for_who_lets_go_and_asks_again_before_those_who_wait(self) -> None:
        turns = Turns()
        assert turns.take(0)
        with ThreadPoolExecutor(1) as threads:
            other: Future[bool] = threads.submit(turns.take, LONG)
            in_line(turns, 1)
            turns.hand_on()
            assert not turns.take(0)
            assert other.result()

    def test_of_one_that_gave_up_goes_to_the_next(self) -> None:
        turns = Turns()
        assert turns.take(0)
        assert not turns.take(0.001)
        turns.hand_on()
        assert turns.take(0)

    def test_that_come_as_one_gives_up_are_not_lost(self, monkeypatch: pytest.MonkeyPatch) -> None:
        turns = Turns()
        assert turns.take(0)
        monkeypatch.setattr(turns, "_changing", HandingOn(turns))
        assert turns.take(0)


class HandingOn:
    """In place of the lock: another thread comes in between, and hands its turn on."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._entered = 0

    def __enter__(self) -> None:
        self._entered += 1
        if self._entered == 2:
            self._turns._waiting.popleft().release()

    def __exit__(self, *exception: object) -> None:
        pass
