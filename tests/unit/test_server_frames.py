"""The frames from the server to workers: the contract, section 4."""

from __future__ import annotations

import json

import msgspec
import pytest

from queueapp.protocol import (
    Ack,
    Cancel,
    DrainNotice,
    ErrorNotice,
    ServerMessage,
    TaskFrame,
    Welcome,
    serialise,
    serialise_many,
)


def task(**fields: object) -> TaskFrame:
    values = {
        "task_id": "0190",
        "task_name": "tag",
        "attrs": msgspec.Raw(b'{"cloud":"aws"}'),
        "data": msgspec.Raw(b"[1,2.50]"),
        "attempt": 1,
        "timeout": 300.0,
        "deadline": "2030-01-31T12:00:00Z",
        "priority": 0,
    }
    return TaskFrame(**{**values, **fields})


class TestATaskFrame:
    def test_has_the_members_of_the_contract(self):
        assert json.loads(serialise(task())) == {
            "kind": "task",
            "task_id": "0190",
            "task_name": "tag",
            "attrs": {"cloud": "aws"},
            "data": [1, 2.5],
            "attempt": 1,
            "timeout": 300.0,
            "deadline": "2030-01-31T12:00:00Z",
            "priority": 0,
        }

    def test_has_a_traceparent_only_when_the_producer_sent_one(self):
        assert "traceparent" not in json.loads(serialise(task()))
        assert json.loads(serialise(task(traceparent="00-ab")))["traceparent"] == "00-ab"

    def test_passes_the_payload_through_as_the_text_it_was(self):
        assert '"data":[1,2.50]' in serialise(task())


class TestTheOtherServerFrames:
    @pytest.mark.parametrize(
        ("message", "members"),
        [
            (
                Welcome("w", 100, 10.0, "1.0"),
                {"kind": "welcome", "worker_id": "w", "max_outstanding": 100, "heartbeat": 10.0, "server": "1.0"},
            ),
            (
                Ack("t", 2, "accepted"),
                {"kind": "ack", "task_id": "t", "attempt": 2, "status": "accepted"},
            ),
            (Ack("t", None, "unknown"), {"kind": "ack", "task_id": "t", "attempt": None, "status": "unknown"}),
            (
                Cancel("t", 1, "timeout"),
                {"kind": "cancel", "task_id": "t", "attempt": 1, "reason": "timeout"},
            ),
            (DrainNotice("restart"), {"kind": "drain", "reason": "restart"}),
            (ErrorNotice("invalid", "…"), {"kind": "error", "code": "invalid", "message": "…"}),
        ],
    )
    def test_have_the_members_of_the_contract(self, message, members):
        assert json.loads(serialise(message)) == members

    @pytest.mark.parametrize(
        "message",
        [
            task(),
            task(traceparent="00-ab"),
            Welcome("w", 100, 10.0, "1.0"),
            Ack("t", 2, "stale"),
            Ack("t", None, "unknown"),
            Cancel("t", 1, "cancelled"),
            DrainNotice("restart"),
            ErrorNotice("invalid", "é"),
        ],
    )
    def test_read_back_as_what_was_sent(self, message):
        assert msgspec.json.decode(serialise(message), type=ServerMessage) == message


class TestSeveralMessages:
    acks = [Ack("a", 1, "accepted"), Ack("b", 1, "stale")]

    def test_are_one_array_for_a_worker_that_takes_batches(self):
        (frame,) = serialise_many(self.acks, batch=True)
        assert [ack["task_id"] for ack in json.loads(frame)] == ["a", "b"]

    def test_are_a_frame_each_for_others(self):
        assert serialise_many(self.acks, batch=False) == [serialise(ack) for ack in self.acks]

    def test_are_no_frame_when_there_are_none(self):
        assert serialise_many([], batch=True) == []
