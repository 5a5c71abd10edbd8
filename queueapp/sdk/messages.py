"""The messages of a worker as JSON texts, each checked to be one that the server can store."""

from __future__ import annotations

import json
import traceback
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from queueapp.domain.errors import InvalidJson
from queueapp.domain.matching import Subscription
from queueapp.domain.payloads import UNSTORABLE_TEXT, json_text, parse_json
from queueapp.protocol import ERROR_TEXT_LENGTH, PROGRESS_MESSAGE_LENGTH, storable
from queueapp.sdk.errors import HandlerVerdict
from queueapp.sdk.payload import plain

TRACEBACK_LENGTH = 20_000
LONGEST_CHARACTER_BYTES = len(r"\u0000")

DRAIN = '{"kind":"drain"}'


def registration(subscriptions: Sequence[Subscription]) -> str:
    """The first message: `[{"name": …, "filter": {criterion: [value, …]}}, …]`."""
    return json_text(
        [
            {"name": each.name, "filter": {criterion: sorted(values) for criterion, values in each.criteria}}
            for each in subscriptions
        ]
    )


class ResultMessage(NamedTuple):
    """The message that ends an attempt, and whether it says that the task was done."""

    text: str
    is_done: bool


def done(task_id: str, attempt: int, result: Any, limit_bytes: int) -> ResultMessage:
    """The result, or the error that says why it cannot be sent."""
    try:
        data = _checked_text(result)
    except InvalidJson as problem:
        return error(task_id, attempt, f"The result cannot be sent as JSON: {problem.reason}.", retry=False)
    message = f'{{"task_id":{json_text(task_id)},"attempt":{attempt},"result":"done","data":{data}}}'
    size = len(message.encode())
    if size > limit_bytes:
        # Sent all the same it would end the connection (1009), and with it every task that is held.
        text = f"The result is too large to send: {size} bytes, a frame has at most {limit_bytes}."
        return error(task_id, attempt, text, retry=False)
    return ResultMessage(message, True)


def failed(task_id: str, attempt: int, failure: BaseException, limit_bytes: int) -> ResultMessage:
    """The error message for what a handler raised, cut to what fits into a frame."""
    message = _failed(task_id, attempt, failure)
    if len(message.text.encode()) <= limit_bytes:
        return message
    document = msgspec.json.decode(message.text)
    text = document["error"]
    document |= {"error": "", "details": "The details are too large to send."}
    room = limit_bytes - len(msgspec.json.encode(document))
    document["error"] = text[: max(0, room // LONGEST_CHARACTER_BYTES)]
    return ResultMessage(msgspec.json.encode(document).decode(), False)


def _failed(task_id: str, attempt: int, failure: BaseException) -> ResultMessage:
    if isinstance(failure, HandlerVerdict):
        return error(
            task_id, attempt, str(failure), retry=failure.retry, after=failure.after, details=failure.details
        )
    last_line = "".join(traceback.format_exception_only(failure)).strip().rpartition("\n")[2]
    trace = storable("".join(traceback.format_exception(failure)))[-TRACEBACK_LENGTH:]
    return error(task_id, attempt, last_line, details={"traceback": trace})


def error(
    task_id: str,
    attempt: int,
    text: str,
    *,
    retry: bool | None = None,
    after: float | None = None,
    details: Any = None,
) -> ResultMessage:
    """`retry` None leaves the decision to the task's `retry_on`, `after` None the time to its backoff."""
    message: dict[str, Any] = {
        "task_id": task_id,
        "attempt": attempt,
        "result": "error",
        "error": storable(text)[:ERROR_TEXT_LENGTH],
    }
    if retry is not None:
        message["retry"] = retry
    if after is not None:
        message["retry_after"] = after
    if details is not None:
        try:
            message["details"] = msgspec.Raw(_checked_text(details).encode())
        except InvalidJson as problem:
            message["details"] = f"The details cannot be sent as JSON: {problem.reason}."
    return ResultMessage(msgspec.json.encode(message).decode(), False)


def progress(task_id: str, fraction: float, message: str) -> str:
    if not 0 <= fraction <= 1:
        raise ValueError(f"Progress is a fraction between 0 and 1, not {fraction}.")
    text = storable(message)[:PROGRESS_MESSAGE_LENGTH]
    return json_text({"kind": "progress", "task_id": task_id, "progress": fraction, "message": text})


def extend(task_id: str, seconds: float) -> str:
    return json_text({"kind": "extend", "task_id": task_id, "seconds": seconds})


def release(task_id: str) -> str:
    return json_text({"kind": "release", "task_id": task_id})


def _checked_text(value: Any) -> str:
    """The JSON text of what a handler gave, or InvalidJson. Read back, because what the standard library
    writes (NUL, deep nesting) is not all that a database keeps."""
    try:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=plain)
        text.encode()
    except UnicodeEncodeError:
        raise InvalidJson(UNSTORABLE_TEXT) from None
    except (TypeError, ValueError, RecursionError) as problem:
        raise InvalidJson(str(problem)) from None
    parse_json(text)
    return text
