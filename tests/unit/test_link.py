"""What is said to one worker."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from queueapp.dispatch import Assignment
from queueapp.lifecycle import Assigned
from queueapp.link import UNSENT_BYTES, Link
from queueapp.protocol import ARRAY_CHARACTERS, Ack, Cancel, DrainNotice, ErrorNotice

PATIENCE_SECONDS = 30

TASK, SESSION = uuid4(), uuid4()


def assignment(
    task_id: UUID = TASK, attempt: int = 1, data: str | None = '{"n":1}', timeout: float = 60.0
) -> Assignment:
    at = datetime(2030, 1, 31, 12, tzinfo=UTC)
    return Assignment(Assigned(task_id, SESSION, uuid4(), "t", data, attempt, timeout, at, 0, "", at), "{}")


class Wire:
    """Keeps what is sent."""

    def __init__(self, v1: bool = False, batch: bool = False, unsent_bytes: int = UNSENT_BYTES) -> None:
        self.texts: list[str] = []
        self.asked_again: list[UUID] = []
        self.reads = asyncio.Event()
        self.reads.set()
        self.link = Link(
            SESSION, v1, batch, 10, self.send, self.close, unsent_bytes, ask_again=self.asked_again.extend
        )

    async def send(self, text: str) -> None:
        await self.reads.wait()
        self.texts.append(text)

    async def close(self, code: int, reason: str) -> None:
        """Nothing to close here."""

    async def frames(self) -> list:
        """What has been sent, once all has been."""
        await self.link.close(1000, "")
        return [json.loads(text) for text in self.texts]


class TestHandOver:
    async def test_a_hand_over_that_is_noticed_twice_is_sent_once(self):
        wire = Wire()
        wire.link.hand_over([assignment(), assignment()])
        wire.link.hand_over([assignment()])
        assert [frame["attempt"] for frame in await wire.frames()] == [1]

    async def test_whole_seconds_are_integers(self):
        wire = Wire(v1=True)
        wire.link.hand_over([assignment(timeout=60.0), assignment(uuid4(), timeout=0.5)])
        wire.link.welcome(10.0, "server")
        seconds = [frame.get("timeout", frame.get("heartbeat")) for frame in await wire.frames()]
        assert list(map(repr, seconds)) == ["10", "60", "0.5"]

    async def test_another_attempt_is_sent(self):
        wire = Wire()
        wire.link.hand_over([assignment(attempt=1), assignment(attempt=2)])
        assert [frame["attempt"] for frame in await wire.frames()] == [1, 2]

    async def test_with_batch_many_tasks_are_one_array(self):
        wire = Wire(batch=True)
        wire.link.hand_over([assignment(uuid4()), assignment(uuid4())])
        assert [len(frame) for frame in await wire.frames()] == [2]

    @pytest.mark.parametrize(("attempt", "still_held"), [(None, False), (2, False), (1, True)])
    async def test_only_the_attempt_that_it_holds_is_let_go(self, attempt, still_held):
        wire = Wire()
        wire.link.hand_over([assignment(attempt=2)])
        wire.link.let_go(TASK, attempt)
        assert (TASK in wire.link.held) is still_held

    async def test_arrays_are_no_longer_than_clients_read(self):
        wire = Wire(batch=True)
        wire.link.hand_over([assignment(uuid4(), data=json.dumps("x" * 50_000)) for _ in range(12)])
        frames = await wire.frames()
        assert sum(map(len, frames)) == 12
        assert max(map(len, wire.texts)) <= ARRAY_CHARACTERS + 100


class TestWhatIsSentAtOnce:
    """Where the server takes it, without a turn of a task."""

    def wire(self, takes: int, v1: bool = False) -> Wire:
        """The server takes so many, and then no more until something was sent the usual way."""
        wire = Wire(v1=v1)
        left = [takes]

        def send_at_once(texts: Sequence[str]) -> int:
            taken = texts[: left[0]]
            wire.texts += taken
            left[0] -= len(taken)
            return len(taken)

        wire.link.send_at_once = send_at_once
        return wire

    def numbers(self, wire: Wire) -> list[int]:
        return [json.loads(text)["attempt"] for text in wire.texts]

    async def test_is_sent_before_anybody_else_has_a_turn(self):
        wire = self.wire(takes=2)
        wire.link.hand_over([assignment(uuid4(), attempt=1), assignment(uuid4(), attempt=2)])
        assert self.numbers(wire) == [1, 2]

    async def test_does_not_overtake_what_waits(self):
        """Guards: nothing is outgoing, and nothing being sent. The server takes the third again."""
        wire = self.wire(takes=1)
        wire.link.hand_over([assignment(uuid4(), attempt=number) for number in (1, 2)])
        wire.link.send_at_once = lambda texts: len(texts) if wire.texts.extend(texts) is None else 0
        wire.link.hand_over([assignment(uuid4(), attempt=3)])
        await wire.frames()
        assert self.numbers(wire) == [1, 2, 3]

    async def test_does_not_come_before_the_welcome(self):
        wire = self.wire(takes=1, v1=True)
        wire.link.tell([Ack("x", 1, "unknown")])
        assert wire.texts == []
        wire.link.welcome(10, "server")
        assert [frame["kind"] for frame in await wire.frames()] == ["welcome", "ack"]


class TestLargeData:
    async def test_that_was_not_read_is_asked_for_a_few_at_a_time(self):
        wire = Wire()
        tasks = [uuid4() for _ in range(100)]
        wire.link.hand_over([assignment(task, data=None) for task in tasks])
        assert wire.asked_again == tasks[:4]
        wire.link.hand_over([assignment(task) for task in tasks[:4]])
        wire.link.answered()
        assert wire.asked_again == tasks[:8]
        assert [frame["task_id"] for frame in await wire.frames()] == list(map(str, tasks[:4]))


class TestAWorkerThatDoesNotRead:
    LARGE = json.dumps("x" * 1000)

    def deaf(self, **options) -> Wire:
        wire = Wire(unsent_bytes=10_000, **options)
        wire.reads.clear()
        return wire

    async def test_is_owed_a_bounded_number_of_bytes_and_the_rest_is_put_off(self):
        wire = self.deaf()
        tasks = [uuid4() for _ in range(100)]
        wire.link.hand_over([assignment(task, data=self.LARGE) for task in tasks])
        assert wire.link._outgoing_bytes < 2 * 10_000
        assert set(wire.link.held) == set(tasks), "the poll must not read again and again what is put off"
        assert not all(map(wire.link.was_sent, tasks))

    async def test_is_sent_what_was_put_off_once_it_reads_in_the_order_in_which_it_was_assigned(self):
        wire = self.deaf()
        tasks = [uuid4() for _ in range(100)]
        wire.link.hand_over([assignment(task, data=self.LARGE) for task in tasks])
        wire.reads.set()
        for _ in range(1000):
            await asyncio.sleep(0)
            asked_again, wire.asked_again[:] = list(wire.asked_again), []
            if asked_again:
                wire.link.hand_over([assignment(task, data=self.LARGE) for task in asked_again])
                wire.link.answered()
        assert [frame["task_id"] for frame in await wire.frames()] == list(map(str, tasks))

    async def test_is_not_given_what_came_later_before_what_was_put_off(self):
        wire = self.deaf()
        put_off, later = uuid4(), uuid4()
        wire.link.hand_over([assignment(uuid4(), data=json.dumps("x" * 20_000)), assignment(put_off)])
        wire.link.hand_over([assignment(later)])
        assert not wire.link.was_sent(put_off)
        assert not wire.link.was_sent(later)

    async def test_is_not_sent_what_ended_meanwhile(self):
        wire = self.deaf()
        tasks = [uuid4() for _ in range(50)]
        wire.link.hand_over([assignment(task, data=self.LARGE) for task in tasks])
        for task in tasks:
            if not wire.link.was_sent(task):
                wire.link.let_go(task, 1)
        wire.reads.set()
        await wire.frames()
        assert wire.asked_again == []

    async def test_and_asks_and_asks_is_not_heard_until_it_has_taken_the_answers(self):
        wire = self.deaf(v1=True)
        wire.link.welcome(10, "workqueue")
        await asyncio.wait_for(wire.link.caught_up(), PATIENCE_SECONDS)
        wire.link.tell([ErrorNotice("invalid", "x" * 100)] * 200)
        heard = asyncio.ensure_future(wire.link.caught_up())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not heard.done()
        wire.reads.set()
        await asyncio.wait_for(heard, PATIENCE_SECONDS)
        assert len(wire.texts) == 201


class TestTell:
    async def test_what_is_said_before_the_welcome_comes_after_it(self):
        wire = Wire(v1=True)
        wire.link.tell([Ack("x", 1, "unknown")])
        wire.link.tell([DrainNotice("why")])
        await asyncio.sleep(0)
        wire.link.welcome(10, "workqueue")
        assert [frame["kind"] for frame in await wire.frames()] == ["welcome", "ack", "drain"]

    async def test_a_worker_without_the_subprotocol_is_told_nothing_but_tasks(self):
        wire = Wire(v1=False)
        wire.link.tell([Ack("x", 1, "accepted"), Cancel("x", 1, "timeout"), DrainNotice("why")])
        wire.link.welcome(10, "workqueue")
        wire.link.hand_over([assignment()])
        assert [frame["kind"] for frame in await wire.frames()] == ["task"]
