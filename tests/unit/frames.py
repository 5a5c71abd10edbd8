"""Reads frames of workers one by one."""

from __future__ import annotations

import json

from queueapp.protocol import Unusable, WorkerMessage
from queueapp.worker_frames import parse_frame


def one(frame: object) -> WorkerMessage:
    """The only message of a frame, given as text or as the value that the text says."""
    (message,) = parse_frame(frame if isinstance(frame, str) else json.dumps(frame))
    return message


def unusable(frame: object, code: str) -> None:
    message = one(frame)
    assert isinstance(message, Unusable)
    assert message.code == code
    assert message.message
