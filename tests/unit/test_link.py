"""What is said to one worker."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from queueapp.dispatch import Assignment
from queueapp.lifecycle import Assigned
from queueapp.link import Link
from queueapp.protocol import Ack, Cancel, DrainNotice

TASK, SESSION = uuid4(), uuid4()


def assignment(task_id: UUID = TASK, attempt: int = 1) -> Assignment:
    deadline = datetime(2030, 1, 31, 12, tzinfo=UTC)
    return Assignment(Assigned(task_id, SESSION, uuid4(), "t", '{"n":1}', attempt, 60.0, deadline, 0, ""), "{}")


class Wire:
    """Keeps what is sent."""

    def __init__(self, v1: bool = True, batch: bool = False) -> None:
        self.texts: list[str] = []
        self.link = Link(SESSION, v1, batch, 10, self.send, self.close)

    async def send(self, text: str) -> None:
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


class TestTell:
    async def test_a_worker_without_the_subprotocol_is_told_nothing_but_tasks(self):
        wire = Wire(v1=False)
        wire.link.tell([Ack("x", 1, "accepted"), Cancel("x", 1, "timeout"), DrainNotice("why")])
        wire.link.welcome(10, "workqueue")
        wire.link.hand_over([assignment()])
        assert [frame["kind"] for frame in await wire.frames()] == ["task"]
