"""Single submissions that come at the same time, stored in one transaction."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple
from uuid import UUID

from django.http import HttpRequest

from queueapp import lifecycle
from queueapp.api.documents import receipts_json, task_json
from queueapp.api.gathering import Gathering
from queueapp.api.permissions import may_read
from queueapp.api.plain import may_ask, note_uses
from queueapp.api.schema.words import JSON
from queueapp.auth import keys_of
from queueapp.conf import config
from queueapp.database import DATABASE_AWAY, is_known_to_be_undone
from queueapp.domain.addresses import read_networks
from queueapp.domain.errors import InvalidJson, InvalidSubmission
from queueapp.domain.submission import Limits, Submission
from queueapp.domain.tracing import valid_traceparent
from queueapp.intake import is_array, read_submission
from queueapp.models import ApiKey, Task
from queueapp.reading import tasks_by_id

logger = logging.getLogger(__name__)

LARGEST_BYTES = 64 * 1024
"""Of a body. A larger one is worth a transaction of its own, and others would wait while it is read."""


class _Asked(NamedTuple):
    """`waits`: the document is asked for when the task has ended."""

    token: str
    request: HttpRequest
    waits: bool


class Stored(NamedTuple):
    """A task that is new, or the live one with its unique key. `document` is JSON; who waits for the end of a new
    one gets none yet."""

    task_id: UUID
    is_new: bool
    document: bytes


_Answer = Stored | Exception | None


class _Good(NamedTuple):
    """What can be stored, and its place among what is asked."""

    place: int
    submission: Submission
    key: ApiKey
    waits: bool


async def store(token: str, request: HttpRequest, waits: bool) -> Stored | None:
    """None: nothing is stored, and the view is to do it. After an error it may be stored."""
    if not _is_plain(request):
        return None
    answer = await _submissions.ask(_Asked(token, request, waits))
    if isinstance(answer, Exception):
        raise answer
    return answer


def submission_limits() -> Limits:
    limits = config()
    networks = read_networks(limits.callback_allowed_networks)
    return Limits(limits.data_limit_bytes, limits.attrs_limit, limits.bulk_limit, networks)


def traced(submissions: list[Submission], request: HttpRequest) -> list[Submission]:
    """With the trace that the request belongs to, if it says so."""
    if traceparent := valid_traceparent(request.META.get("HTTP_TRACEPARENT", "")):
        return [submission._replace(traceparent=traceparent) for submission in submissions]
    return submissions


def _is_plain(request: HttpRequest) -> bool:
    """One task, and nothing is asked for beside it."""
    length = request.META.get("CONTENT_LENGTH", "")
    return (
        request.META.get("CONTENT_TYPE") == JSON
        and not request.META.get("QUERY_STRING")
        and "HTTP_IDEMPOTENCY_KEY" not in request.META
        and length.isdecimal()
        and int(length) <= min(LARGEST_BYTES, config().body_limit_bytes)
        and not is_array(request.body)
    )


def _store(asked: Sequence[_Asked]) -> list[_Answer]:
    keys = keys_of({each.token for each in asked})
    note_uses(keys.values())
    answers: list[_Answer] = [None] * len(asked)
    try:
        good = list(_good_ones(asked, keys))
        receipts = _receipts(good)
    except Exception as error:
        if isinstance(error, DATABASE_AWAY) and not is_known_to_be_undone(error):
            raise
        # Nothing is stored. Whose fault it was the views will see.
        logger.warning("Submissions could not be stored together: one at a time.", exc_info=True)
        return answers
    for each, answer in zip(good, _answers(good, receipts), strict=True):
        answers[each.place] = answer
    return answers


def _good_ones(asked: Sequence[_Asked], keys: Mapping[str, ApiKey]) -> Iterator[_Good]:
    """Without those with which, or with whose key, something is wrong."""
    limits = submission_limits()
    for place, (token, request, waits) in enumerate(asked):
        key = keys.get(token)
        if key is None or not may_ask(key, request):
            continue
        try:
            submission = read_submission(request.body, key.read_at, limits)
        except (InvalidJson, InvalidSubmission):
            continue
        if key.reach.includes(submission.name):
            yield _Good(place, traced([submission], request)[0], key, waits)


def _receipts(good: Sequence[_Good]) -> list[lifecycle.Receipt]:
    if not good:
        return []
    keys = [each.key for each in good]
    return lifecycle.submit([each.submission for each in good], keys, max(key.read_at for key in keys))


def _answers(good: Sequence[_Good], receipts: Sequence[lifecycle.Receipt]) -> list[_Answer]:
    """Of what is stored. What fails now must not have it stored again."""
    later = {r.task_id for each, r in zip(good, receipts, strict=True) if each.waits and r.created}
    wanted = {receipt.task_id for receipt in receipts} - later
    try:
        tasks = tasks_by_id(wanted) if wanted else {}
        return [_answer(each, r, tasks.get(r.task_id)) for each, r in zip(good, receipts, strict=True)]
    except Exception as error:
        return [error] * len(good)


def _answer(good: _Good, receipt: lifecycle.Receipt, task: Task | None) -> _Answer:
    if receipt.created:
        # Where it is no more, it was submitted all the same.
        document = receipts_json([receipt.task_id]) if task is None else task_json(task)
        return Stored(receipt.task_id, True, b"" if good.waits else document)
    if task is None or not may_read(good.key, task):
        return None  # The view says that it is somebody else's.
    return Stored(receipt.task_id, False, task_json(task))


_submissions = Gathering(_store)
