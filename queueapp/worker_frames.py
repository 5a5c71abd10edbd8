"""The frames of workers, read: each a message of `protocol`, or why it is none. No frame raises an error."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from typing import Annotated, Any

import msgspec

from queueapp.domain.errors import InvalidJson
from queueapp.domain.payloads import (
    MAX_DEPTH,
    check_json,
    json_text,
    may_be_escaped,
    may_be_infinite_or_deep,
)
from queueapp.protocol import (
    ERROR_TEXT_LENGTH,
    MAX_ATTEMPT_NUMBER,
    MAX_EXTENSION_SECONDS,
    MAX_OUTSTANDING_LIMIT,
    MAX_RETRY_AFTER_SECONDS,
    PROGRESS_MESSAGE_LENGTH,
    Capacity,
    Drain,
    Extend,
    Progress,
    Release,
    Result,
    Unusable,
    WorkerMessage,
    storable,
)

_NULL = msgspec.Raw(b"null")
_NO_TEXT = msgspec.Raw(b'""')


class _Envelope(msgspec.Struct):
    kind: str = ""
    task_id: str = ""
    result: str = ""
    data: msgspec.Raw = _NULL
    error: msgspec.Raw = _NO_TEXT
    details: msgspec.Raw = _NULL
    attempt: Annotated[int, msgspec.Meta(ge=0, le=MAX_ATTEMPT_NUMBER)] | None = None
    retry: bool | None = None
    retry_after: Annotated[float, msgspec.Meta(ge=0, le=MAX_RETRY_AFTER_SECONDS)] | None = None
    progress: float | None = None
    message: str = ""
    seconds: float | None = None
    max_outstanding: Annotated[int, msgspec.Meta(ge=0, le=MAX_OUTSTANDING_LIMIT)] | None = None


_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_decode_envelopes = msgspec.json.Decoder(list[_Envelope]).decode
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*+"?|[\[\]{}:]', re.DOTALL)
"""A string, also one without an end: trying each of its quotes as a beginning would take hours for a mebibyte."""
_PAYLOADS = ("data", "error", "details")


def parse_frame(text: str) -> list[WorkerMessage]:
    """The messages in a text frame: one, or as many as its array has elements. Never raises.

    The quick way for what msgspec reads and nothing suspicious is in; the thorough way for the rest.
    """
    if text.lstrip()[:1] != "[":
        return [_parse_one(text)]
    envelopes = _read_quickly(_decode_envelopes, text)
    if envelopes is not None:
        return [_from_envelope(envelope) for envelope in envelopes]
    try:
        elements = msgspec.json.decode(text, type=list[msgspec.Raw])
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        loaded = _load(text)
        return [_from_loaded(item) for item in loaded] if isinstance(loaded, list) else [_not_json(text)]
    return [_parse_one(bytes(element).decode()) for element in elements]


def parse_auth(text: str) -> str | None:
    """The token of a `{"kind": "auth", "token": "…"}` message; None when the text is something else."""
    loaded = _load(text)
    if isinstance(loaded, dict) and loaded.get("kind") == "auth" and isinstance(loaded.get("token"), str):
        return loaded["token"]
    return None


def _parse_one(text: str) -> WorkerMessage:
    envelopes = _read_quickly(_decode_alone, text)
    if envelopes is not None:
        return _from_envelope(envelopes[0])
    loaded = _load(text)
    return _not_json(text) if loaded is None else _from_loaded(loaded)


def _decode_alone(text: str) -> list[_Envelope]:
    return [_decode_envelope(text)]


def _read_quickly(decode: Callable[[str], list[_Envelope]], text: str) -> list[_Envelope] | None:
    if may_be_escaped(text):
        return None
    try:
        envelopes = decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        return None
    return envelopes if all(map(_is_plain, envelopes)) else None


def _is_plain(envelope: _Envelope) -> bool:
    """Whether its payloads can be stored for all that a look at them tells. What else is in a frame has a type."""
    return _is_harmless(envelope.data) and _is_harmless(envelope.error) and _is_harmless(envelope.details)


def _is_harmless(payload: msgspec.Raw) -> bool:
    return payload is _NULL or payload is _NO_TEXT or not may_be_infinite_or_deep(bytes(payload).decode())


def _load(text: str) -> Any:
    """What the standard library reads, NaN and lone surrogates included; None when even that fails."""
    try:
        return json.loads(text, parse_int=_whole_number)
    except (ValueError, RecursionError):
        return None


def _whole_number(digits: str) -> int | float:
    """Infinite where the digits are too many to read, so that the payload is refused and not the frame."""
    try:
        return int(digits)
    except ValueError:
        return math.inf


def _not_json(text: str) -> WorkerMessage:
    """A text that no parser reads. Nested too deeply, it may still be a result whose task must not hang."""
    task_id = _task_id_of_deep_text(text)
    if task_id is not None:
        return _unstorable(task_id, f"nested deeper than {MAX_DEPTH} levels")
    return Unusable("not-json", "The frame is not a JSON object or array that can be read.")


def _task_id_of_deep_text(text: str) -> str | None:
    depth, deepest, key, task_id, previous = 0, 0, "", None, ""
    for token in _TOKEN.findall(text):
        if token in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif token in "]}":
            depth -= 1
        elif token == ":":
            key = previous if depth == 1 else ""
        elif depth == 1 and key == '"task_id"':
            task_id, key = token[1:-1], ""
        previous = token
    return task_id if deepest > MAX_DEPTH else None


def _from_loaded(value: Any) -> WorkerMessage:
    """A message from a parsed object whose payload nobody has checked yet. Null is as if left out: many clients
    write every member that they have, and a sign of life must not be lost for one without a value."""
    if not isinstance(value, dict):
        return Unusable("not-an-object", "A message is a JSON object.")
    members = _Envelope.__struct_fields__
    plain = {key: item for key, item in value.items() if key in members and item is not None}
    payloads = {key: plain.pop(key) for key in _PAYLOADS if key in plain}
    try:
        envelope = msgspec.convert(plain, _Envelope, strict=False)
    except (msgspec.ValidationError, UnicodeEncodeError) as error:
        return Unusable("invalid", f"A member cannot be used: {error}.")
    envelope.task_id = storable(envelope.task_id)
    for key, payload in payloads.items():
        try:
            check_json(payload)
            setattr(envelope, key, msgspec.Raw(json_text(payload).encode()))
        except (InvalidJson, RecursionError) as error:
            return _unstorable(envelope.task_id, str(error), envelope.attempt)
    return _from_envelope(envelope)


def _unstorable(task_id: str, reason: str, attempt: int | None = None) -> WorkerMessage:
    """A result that cannot be stored fails its task with that reason."""
    if not task_id:
        return Unusable("invalid", f"The payload cannot be stored: {reason}.")
    error = f"The result cannot be stored: {reason}."
    return Result(task_id, done=False, error=error, attempt=attempt, retry=False)


def _from_envelope(frame: _Envelope) -> WorkerMessage:
    """The typed message, or why it is none."""
    match frame.kind:
        case "" | "result":
            return _result(frame)
        case "drain":
            return Drain()
        case "capacity":
            if frame.max_outstanding is None:
                return Unusable("invalid", "capacity needs max_outstanding, a whole number from 0.")
            return Capacity(frame.max_outstanding)
        case "progress" | "extend" | "release" if not frame.task_id:
            return Unusable("invalid", f"{frame.kind} needs task_id.")
        case "progress":
            if frame.progress is None or not 0 <= frame.progress <= 1:
                return Unusable("invalid", "progress needs progress, a number between 0 and 1.")
            return Progress(frame.task_id, frame.progress, storable(frame.message)[:PROGRESS_MESSAGE_LENGTH])
        case "extend":
            if frame.seconds is None or not 0 < frame.seconds <= MAX_EXTENSION_SECONDS:
                return Unusable("invalid", f"extend needs seconds, up to {MAX_EXTENSION_SECONDS:.0f}.")
            return Extend(frame.task_id, frame.seconds)
        case "release":
            return Release(frame.task_id)
        case unknown:
            return Unusable("unknown-kind", f"There is no message of kind {unknown[:50]!r}.")


def _result(frame: _Envelope) -> WorkerMessage:
    if not frame.task_id:
        return Unusable("invalid", "A result needs task_id.")
    if frame.result == "done":
        return Result(frame.task_id, True, bytes(frame.data).decode(), attempt=frame.attempt)
    if frame.result == "error":
        return Result(
            frame.task_id,
            done=False,
            payload=bytes(frame.details).decode(),
            error=_error_text(frame.error),
            attempt=frame.attempt,
            retry=frame.retry,
            retry_after=frame.retry_after,
        )
    return Unusable("invalid", 'A result is "done" or "error".')


def _error_text(raw: msgspec.Raw) -> str:
    """Errors are text, and null is none; a worker that sends another value gets its JSON kept as the text."""
    value = json.loads(bytes(raw))
    if value is None:
        return ""
    text = value if isinstance(value, str) else json_text(value)
    return storable(text)[:ERROR_TEXT_LENGTH]
