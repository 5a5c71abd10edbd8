"""The wire between server and workers as typed objects: messages and close codes (contract, section 4).

`worker_frames` reads what workers send. Used by the server and by the SDK alike. Payloads (`data`, `details`,
`attrs`) are JSON text here, passed through unparsed where nobody reads them.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import Literal

import msgspec

SUBPROTOCOL = "workqueue.v1"
ERROR_TEXT_LENGTH = 10_000
PROGRESS_MESSAGE_LENGTH = 500
MAX_EXTENSION_SECONDS = 86_400.0
MAX_RETRY_AFTER_SECONDS = 86_400.0
MAX_OUTSTANDING_LIMIT = 100_000
MAX_ATTEMPT_NUMBER = 2**31 - 1  # what a database's integer column holds


class CloseCode(IntEnum):
    NORMAL = 1000
    GOING_AWAY = 1001
    RESTART = 1012
    TOO_LARGE = 1009
    BAD_REGISTRATION = 4400
    NOT_AUTHENTICATED = 4401
    FORBIDDEN = 4403
    REGISTRATION_TIMEOUT = 4408
    DISCONNECTED = 4409
    TOO_MANY = 4429


FATAL_CLOSE_CODES = frozenset(
    {CloseCode.BAD_REGISTRATION, CloseCode.NOT_AUTHENTICATED, CloseCode.FORBIDDEN, CloseCode.DISCONNECTED}
)
"""After these a worker must not reconnect: it would only be refused again."""

CLOSE_REASON_BYTES = 123
"""What a close frame has room for beside the code (RFC 6455)."""

ARRAY_CHARACTERS = 256 * 1024
"""Longer arrays are sent as several: many clients refuse a frame above a mebibyte if not told otherwise."""

RESTART_REASON = "The server restarts."
"""The reason of a drain notice after which a worker comes back; after any other it leaves for good."""


def close_reason(text: str) -> str:
    """As much of the text as a close frame has room for."""
    encoded = text.encode(errors="replace")
    if len(encoded) <= CLOSE_REASON_BYTES:
        return encoded.decode()
    ellipsis = "…"
    return encoded[: CLOSE_REASON_BYTES - len(ellipsis.encode())].decode(errors="ignore") + ellipsis


# ---- server to worker


class TaskFrame(msgspec.Struct, tag_field="kind", tag="task", omit_defaults=False):
    """One task. `attrs` and `data` are JSON texts; times are RFC 3339 in UTC; `timeout` is in seconds."""

    task_id: str
    task_name: str
    attrs: msgspec.Raw
    data: msgspec.Raw
    attempt: int
    timeout: float
    deadline: str
    priority: int
    traceparent: str | msgspec.UnsetType = msgspec.UNSET


class Welcome(msgspec.Struct, tag_field="kind", tag="welcome"):
    """The first frame of a v1 session. `heartbeat` is the server's ping interval in seconds."""

    worker_id: str
    max_outstanding: int
    heartbeat: float
    server: str


class Ack(msgspec.Struct, tag_field="kind", tag="ack"):
    task_id: str
    attempt: int | None
    status: Literal["accepted", "stale", "unknown"]


class Cancel(msgspec.Struct, tag_field="kind", tag="cancel"):
    task_id: str
    attempt: int
    reason: str


class DrainNotice(msgspec.Struct, tag_field="kind", tag="drain"):
    reason: str


class ErrorNotice(msgspec.Struct, tag_field="kind", tag="error"):
    code: str
    message: str


ServerMessage = TaskFrame | Welcome | Ack | Cancel | DrainNotice | ErrorNotice


def serialise(message: ServerMessage) -> str:
    return msgspec.json.encode(message).decode()


def serialise_many(messages: Iterable[ServerMessage], batch: bool) -> list[str]:
    """The text frames for the messages: with `batch` as few arrays as their length allows, else one frame each."""
    encoded = [serialise(message) for message in messages]
    if not batch or len(encoded) < 2:
        return encoded
    arrays: list[list[str]] = [[]]
    room = ARRAY_CHARACTERS
    for text in encoded:
        if arrays[-1] and len(text) > room:
            arrays.append([])
            room = ARRAY_CHARACTERS
        arrays[-1].append(text)
        room -= len(text)
    return ["[" + ",".join(array) + "]" for array in arrays]


# ---- worker to server


class Result(msgspec.Struct, frozen=True):
    """What became of a task. `payload` is JSON text: the result's data, or an error's details. `retry_after`:
    seconds, in place of the task's backoff."""

    task_id: str
    done: bool
    payload: str = "null"
    error: str = ""
    attempt: int | None = None
    retry: bool | None = None
    retry_after: float | None = None


class Progress(msgspec.Struct, frozen=True):
    """A sign of life. `progress` is between 0 and 1."""

    task_id: str
    progress: float
    message: str


class Extend(msgspec.Struct, frozen=True):
    task_id: str
    seconds: float


class Release(msgspec.Struct, frozen=True):
    task_id: str


class Drain(msgspec.Struct, frozen=True):
    pass


class Capacity(msgspec.Struct, frozen=True):
    max_outstanding: int


class Unusable(msgspec.Struct, frozen=True):
    """A frame, or one element of an array, that could not be used: `code` for programs, `message` for people."""

    code: str
    message: str


WorkerMessage = Result | Progress | Extend | Release | Drain | Capacity | Unusable


def storable(text: str) -> str:
    """The text with what no database keeps (NUL, lone surrogates) replaced."""
    return text.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
