"""Single submissions that come at the same time, stored in one transaction."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from django.http import HttpRequest

from queueapp import lifecycle
from queueapp.api.documents import task_json
from queueapp.api.gathering import Gathering
from queueapp.api.plain import may_ask
from queueapp.api.schema.words import JSON
from queueapp.auth import authenticate
from queueapp.conf import config
from queueapp.database import DATABASE_AWAY
from queueapp.domain.addresses import read_networks
from queueapp.domain.errors import InvalidJson, InvalidSubmission
from queueapp.domain.submission import Limits, Submission
from queueapp.domain.tracing import valid_traceparent
from queueapp.intake import is_array, read_submission
from queueapp.models import ApiKey
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
    """A task that is new. `document` is JSON; who waits gets none yet."""

    task_id: UUID
    document: bytes


async def store(token: str, request: HttpRequest, waits: bool) -> Stored | None:
    """None: nothing is stored, and the view is to do it. One of DATABASE_AWAY: perhaps it is, perhaps not."""
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
    return (
        request.META.get("CONTENT_TYPE") == JSON
        and not request.META.get("QUERY_STRING")
        and "HTTP_IDEMPOTENCY_KEY" not in request.META
        and len(request.body) <= min(LARGEST_BYTES, config().body_limit_bytes)
        and not is_array(request.body)
    )


def _store(asked: Sequence[_Asked]) -> list[Stored | Exception | None]:
    keys = {token: authenticate(token) for token in {each.token for each in asked}}
    stored: dict[int, Stored | Exception] = {}
    for token, key in keys.items():
        if key is not None:
            theirs = {place: each for place, each in enumerate(asked) if each.token == token}
            stored |= _store_of_key(key, theirs)
    return [stored.get(place) for place in range(len(asked))]


def _store_of_key(key: ApiKey, asked: dict[int, _Asked]) -> dict[int, Stored | Exception]:
    """By the places of what is asked."""
    read = {place: _read(each.request, key) for place, each in asked.items() if may_ask(key, each.request)}
    submissions = {place: submission for place, submission in read.items() if submission is not None}
    try:
        receipts = lifecycle.submit(list(submissions.values()), key, key.read_at)
        created = {place: r.task_id for place, r in zip(submissions, receipts, strict=True) if r.created}
        documents = _documents([task_id for place, task_id in created.items() if not asked[place].waits])
    except DATABASE_AWAY as error:
        return dict.fromkeys(submissions, error)
    except Exception:
        # None is stored, and whose fault it was will be seen.
        logger.warning("Submissions could not be stored together: one at a time.", exc_info=True)
        return {}
    return {place: Stored(task_id, documents.get(task_id, b"")) for place, task_id in created.items()}


def _read(request: HttpRequest, key: ApiKey) -> Submission | None:
    try:
        submission = read_submission(request.body, key.read_at, submission_limits())
    except (InvalidJson, InvalidSubmission):
        return None
    return traced([submission], request)[0] if key.reach.includes(submission.name) else None


def _documents(task_ids: Sequence[UUID]) -> dict[UUID, bytes]:
    return {task_id: task_json(task) for task_id, task in tasks_by_id(task_ids).items()} if task_ids else {}


_submissions = Gathering(_store)
