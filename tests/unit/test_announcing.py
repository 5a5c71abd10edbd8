"""What the workers of a process are told of a pass."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from queueapp.announcing import announce
from queueapp.dispatch import Assignment
from queueapp.lifecycle import Assigned, Report
from queueapp.link import Link
from queueapp.passes import Outbox

HERE, ELSEWHERE = uuid4(), uuid4()
AT = datetime(2030, 1, 31, 12, tzinfo=UTC)


def assignment(session_id: UUID, task_id: UUID) -> Assignment:
    return Assignment(Assigned(task_id, session_id, uuid4(), "t", "{}", 1, 60.0, AT, 0, "", AT), "{}")


class Worker:
    """Has all that it is told."""

    def __init__(self, v1: bool = True, batch: bool = False) -> None:
        self.texts: list[str] = []
        self.link = Link(HERE, v1, batch, 10, self.send, self.close, send_at_once=self.take)
        self.link.welcome(10, "workqueue")

    def take(self, texts: Sequence[str]) -> int:
        self.texts += texts
        return len(texts)

    async def send(self, text: str) -> None:
        self.texts.append(text)

    async def close(self, code: int, reason: str) -> None:
        """Nothing to close here."""

    async def told(self, outbox: Outbox) -> list:
        """Of the outbox, as read from the frames."""
        await self.link.close(1000, "")
        self.texts.clear()
        announce(outbox, {HERE: self.link})
        return [json.loads(text) for text in self.texts]


def kind(message: dict) -> str:
    return message.get("kind", "task")


class TestAWorker:
    async def test_that_takes_arrays_is_told_of_a_pass_in_one(self):
        """A frame is half of what a small array costs, and so is one that is read."""
        ended, new = uuid4(), uuid4()
        outbox = Outbox(verdicts=[(Report(HERE, ended, True), "accepted")], assignments=[assignment(HERE, new)])
        (frame,) = await Worker(batch=True).told(outbox)
        assert [(kind(message), message["task_id"]) for message in frame] == [
            ("ack", str(ended)),
            ("task", str(new)),
        ]

    async def test_that_takes_none_is_told_of_acknowledgements_first(self):
        outbox = Outbox(
            verdicts=[(Report(HERE, uuid4(), True), "accepted")], assignments=[assignment(HERE, uuid4())]
        )
        assert [kind(frame) for frame in await Worker().told(outbox)] == ["ack", "task"]

    @pytest.mark.parametrize("batch", [False, True])
    async def test_without_the_subprotocol_is_told_of_tasks_alone(self, batch: bool):
        outbox = Outbox(
            verdicts=[(Report(HERE, uuid4(), True), "accepted")], assignments=[assignment(HERE, uuid4())]
        )
        assert len(await Worker(v1=False, batch=batch).told(outbox)) == 1

    async def test_is_given_again_a_task_that_it_has_just_ended(self):
        """What is acknowledged is let go first, else the new attempt would be thought to be sent."""
        worker, task = Worker(), uuid4()
        worker.link.held[task] = 1
        outbox = Outbox(verdicts=[(Report(HERE, task, False), "accepted")], assignments=[assignment(HERE, task)])
        assert [kind(frame) for frame in await worker.told(outbox)] == ["ack", "task"]


async def test_tasks_whose_workers_are_not_here_are_returned():
    here, elsewhere = uuid4(), uuid4()
    outbox = Outbox(assignments=[assignment(HERE, here), assignment(ELSEWHERE, elsewhere)])
    assert announce(outbox, {HERE: Worker().link}) == {elsewhere}
