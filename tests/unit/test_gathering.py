"""What is asked for at the same time is done in one go."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from queueapp.api import gathering
from queueapp.api.base import THREADS, off_loop
from queueapp.api.gathering import AT_ONCE, GOES, Gathering

LONG = 30
SLOW = 1000


class Served:
    """Doubles numbers, once it is let to; remembers what came in one go. An odd one fails."""

    def __init__(self) -> None:
        self.goes: list[list[int]] = []
        self.may_go = threading.Semaphore(0)
        self.slow_may_go = threading.Event()
        self.has_begun = threading.Event()

    def __call__(self, asked: Sequence[int]) -> list[int]:
        self.goes.append(list(asked))
        self.has_begun.set()
        assert self.slow_may_go.wait(LONG) if SLOW in asked else self.may_go.acquire(timeout=LONG)
        if any(number % 2 for number in asked):
            raise ValueError("odd")
        return [2 * number for number in asked]


@pytest.fixture(autouse=True)
def nobody_is_overtaken(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long a go takes."""
    monkeypatch.setattr(gathering, "OVERTAKEN_AFTER_SECONDS", 3600)


@pytest.fixture
def served() -> Served:
    return Served()


async def begun(served: Served) -> None:
    assert await asyncio.to_thread(served.has_begun.wait, LONG)


async def test_who_comes_meanwhile_is_served_in_the_next_go(served: Served) -> None:
    asking = Gathering(served)
    first = asyncio.create_task(asking.ask(2))
    await begun(served)
    others = [asyncio.create_task(asking.ask(number)) for number in (4, 6, 8)]
    served.may_go.release(2)
    assert await asyncio.gather(first, *others) == [4, 8, 12, 16]
    assert served.goes == [[2], [4, 6, 8]]


async def test_several_goes_are_under_way_where_several_can_write(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "is_postgresql", lambda: True)
    asking = Gathering(served)
    asked = [asyncio.create_task(asking.ask(2)) for _ in range(GOES + 3)]
    await turns_of_the_loop()
    served.may_go.release(GOES + 1)
    assert await asyncio.gather(*asked) == [4] * (GOES + 3)
    assert sorted(map(len, served.goes)) == [1] * GOES + [3]


async def test_who_comes_while_one_takes_long_does_not_wait_for_it(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "OVERTAKEN_AFTER_SECONDS", 0)
    asking = Gathering(served)
    slow = asyncio.create_task(asking.ask(SLOW))
    await begun(served)
    served.may_go.release(1)
    assert await asking.ask(4) == 8
    assert not slow.done()
    served.slow_may_go.set()
    assert await slow == 2 * SLOW


async def test_as_many_are_overtaken_as_there_are_threads(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "OVERTAKEN_AFTER_SECONDS", 0)
    monkeypatch.setattr(gathering, "AT_ONCE", 1)
    goes: list[None] = []

    async def counted(work: Any) -> Any:
        goes.append(None)
        return await off_loop(work)

    monkeypatch.setattr(gathering, "off_loop", counted)
    asking = Gathering(served)
    slow = [asyncio.create_task(asking.ask(SLOW)) for _ in range(THREADS)]
    last = asyncio.create_task(asking.ask(4))
    await turns_of_the_loop()
    assert len(goes) == THREADS
    served.slow_may_go.set()
    served.may_go.release(1)
    assert await asyncio.gather(*slow, last) == [2 * SLOW] * THREADS + [8]


async def turns_of_the_loop() -> None:
    """More than all the goes that there may be take to begin."""
    for _ in range(20 * THREADS):
        await asyncio.sleep(0)


async def test_many_take_several_goes(served: Served) -> None:
    asking = Gathering(served)
    served.may_go.release(3)
    asked = range(0, 4 * AT_ONCE, 2)
    assert await asyncio.gather(*map(asking.ask, asked)) == [2 * number for number in asked]
    assert [len(go) for go in served.goes] == [1, AT_ONCE, AT_ONCE - 1]


async def test_what_fails_fails_for_all_whom_it_was_to_serve_and_for_nobody_else(served: Served) -> None:
    asking = Gathering(served)
    first = asyncio.create_task(asking.ask(1))
    await begun(served)
    others = [asyncio.create_task(asking.ask(number)) for number in (2, 4)]
    served.may_go.release(2)
    with pytest.raises(ValueError, match="odd"):
        await first
    assert await asyncio.gather(*others) == [4, 8]


async def test_who_has_left_before_a_go_is_not_served_and_keeps_nobody_from_an_answer(served: Served) -> None:
    asking = Gathering(served)
    first, leaving, staying = (asyncio.create_task(asking.ask(number)) for number in (2, 4, 6))
    await begun(served)
    leaving.cancel()
    first.cancel()  # it is being served already
    served.may_go.release(2)
    assert await staying == 12
    assert served.goes == [[2], [6]]


async def test_a_go_that_is_cancelled_leaves_nobody_waiting() -> None:
    asking: Gathering[int, int] = Gathering(lambda asked: [2 * number for number in asked])

    async def ended(work: Any) -> Any:
        raise asyncio.CancelledError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gathering, "off_loop", ended)
        asked = asyncio.create_task(asking.ask(2))
        await asyncio.wait([asked])
        assert isinstance(asked.exception(), RuntimeError)
    assert await asking.ask(4) == 8


async def test_a_wrong_number_of_answers_is_an_error() -> None:
    asking: Gathering[int, int] = Gathering(lambda asked: [])
    with pytest.raises(ValueError, match="shorter"):
        await asking.ask(2)


def test_serves_on_one_event_loop_after_another(served: Served) -> None:
    asking = Gathering(served)

    async def left_in_the_middle() -> None:
        asyncio.create_task(asking.ask(2))  # noqa: RUF006 - it ends with the loop
        await begun(served)
        served.may_go.release(2)

    asyncio.run(left_in_the_middle())
    assert asyncio.run(asking.ask(4)) == 8
