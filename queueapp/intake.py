"""The body of a submission, from text to `Submission`s: quickly where it is plain, thoroughly where it is not.

The rules and their errors are `domain.submission`'s. What is taken here without it is what it would take: only
members that need no clock, only values whose check is a look at their type; anything else goes there whole. So
does a body with an error, for its message.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

import msgspec

from queueapp.domain.errors import FieldError, InvalidSubmission, TooManySubmissions
from queueapp.domain.names import attribute_problem, is_task_name
from queueapp.domain.payloads import may_be_escaped, may_be_infinite_or_deep, parse_json
from queueapp.domain.submission import MAX_ATTEMPTS, PRIORITIES, Limits, Submission, parse_submission


class _Plain(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    attrs: dict[str, str] = {}
    data: msgspec.Raw = msgspec.Raw(b"null")
    priority: Annotated[int, msgspec.Meta(ge=PRIORITIES[0], le=PRIORITIES[-1])] = 0
    max_attempts: Annotated[int, msgspec.Meta(ge=1, le=MAX_ATTEMPTS)] | None = None


_decode_one = msgspec.json.Decoder(_Plain).decode
_decode_many = msgspec.json.Decoder(list[_Plain]).decode


def read_submission(body: bytes, now: datetime, limits: Limits) -> Submission:
    """The submission in a body that is one object. InvalidJson or InvalidSubmission says what is wrong."""
    plain = _quickly(_decode_one, body)
    submissions = _plain_submissions([plain], limits) if plain is not None else None
    return submissions[0] if submissions else parse_submission(parse_json(body), now, limits)


def read_submissions(body: bytes, now: datetime, limits: Limits) -> list[Submission]:
    """The submissions in a body that is an array, in its order. InvalidJson, TooManySubmissions, or
    InvalidSubmission, which names each wrong field of each."""
    plain = _quickly(_decode_many, body)
    documents = parse_json(body) if plain is None else plain
    if not documents:
        raise InvalidSubmission([FieldError("", "an array must hold at least one task")])
    if len(documents) > limits.bulk:
        raise TooManySubmissions(limits.bulk, len(documents))
    submissions = _plain_submissions(plain, limits) if plain is not None else None
    if submissions is None:
        submissions = _thoroughly(parse_json(body) if documents is plain else documents, now, limits)
    return submissions


def is_array(body: bytes) -> bool:
    return body.lstrip()[:1] == b"["


def _quickly(decode: Callable[[str], Any], body: bytes) -> Any:
    """What msgspec reads, which is stricter than the standard library; None where a closer look is needed."""
    try:
        text = body.decode()
        return None if may_be_escaped(text) else decode(text)
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError):
        return None


def _plain_submissions(tasks: list[_Plain], limits: Limits) -> list[Submission] | None:
    """None when a value breaks a rule: most values were seen before, in this body."""
    names: set[str] = set()
    pairs: set[tuple[str, str]] = set()
    submissions = []
    for task in tasks:
        if task.name not in names:
            if not is_task_name(task.name):
                return None
            names.add(task.name)
        if len(task.attrs) > limits.attrs:
            return None
        for pair in task.attrs.items():
            if pair not in pairs:
                if attribute_problem(*pair):
                    return None
                pairs.add(pair)
        encoded = bytes(task.data)
        data = encoded.decode()
        if len(encoded) > limits.data_bytes or may_be_infinite_or_deep(data):
            return None
        submissions.append(Submission(task.name, task.attrs, data, task.priority, max_attempts=task.max_attempts))
    return submissions


def _thoroughly(documents: Any, now: datetime, limits: Limits) -> list[Submission]:
    submissions: list[Submission] = []
    errors: list[FieldError] = []
    for index, document in enumerate(documents):
        try:
            submissions.append(parse_submission(document, now, limits, index))
        except InvalidSubmission as error:
            errors.extend(error.errors)
    if errors:
        raise InvalidSubmission(errors)
    return submissions
