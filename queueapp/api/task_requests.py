"""Requests for tasks as they come: plain ones are served many at a time, the others by their views; and those that
wait for the end of a task do so here."""

from __future__ import annotations

from contextlib import nullcontext
from typing import cast
from uuid import UUID

from django.http import HttpRequest, HttpResponseBase
from rest_framework.response import Response

from queueapp.api import fetching, submitting
from queueapp.api.base import in_its_thread, off_loop
from queueapp.api.documents import receipts_json
from queueapp.api.parameters import InvalidParameters, preferred_wait_seconds, wait_seconds
from queueapp.api.plain import json_response, plain_token, problem_response
from queueapp.api.schema.describing import stands_for
from queueapp.api.tasks import SubmittedTask, TaskDetail, TaskList
from queueapp.database import DATABASE_AWAY
from queueapp.domain.states import TERMINAL_STATES
from queueapp.waiting import Listening, listening

_task_list = TaskList.as_view()
_submitted_task = SubmittedTask.as_view()
_task_detail = TaskDetail.as_view()


@stands_for(TaskList)
async def task_list(request: HttpRequest) -> HttpResponseBase:
    """The tasks, or a submission. One task with `Prefer: wait=SECONDS` (RFC 7240) is answered when it is terminal
    or the seconds are over; `Preference-Applied` says so."""
    if request.method != "POST":
        return await in_its_thread(request, lambda: _task_list(request))
    seconds = preferred_wait_seconds(request.headers) if "Prefer" in request.headers else 0.0
    token = plain_token(request)
    with listening() if seconds else nullcontext() as ends:
        response = None if token is None else await _submitted_with_others(request, token, ends, seconds)
        if response is None:
            response = await _submitted_alone(request, ends, seconds)
    if seconds and "Location" in response.headers:
        response["Preference-Applied"] = f"wait={seconds:.0f}"
    return response


async def _submitted_with_others(
    request: HttpRequest, token: str, ends: Listening | None, seconds: float
) -> HttpResponseBase | None:
    """None: nothing was done, and the view proper is to do it."""
    try:
        stored = await submitting.store(token, request, waits=ends is not None)
    except DATABASE_AWAY as error:
        return problem_response(request, TaskList, error)
    if stored is None:
        return None
    document = stored.document
    if ends is not None:
        await ends.until_terminal(stored.task_id, seconds)
        if fetched := await _fetched_at_last(request, stored.task_id, token):
            document = fetched.document
        else:
            answer = await _answer_at_last(request, stored.task_id)
            if answer is not None and answer.status_code != 200:
                return answer
            document = receipts_json([stored.task_id]) if answer is None else answer.content
    response = json_response(request, TaskList, document, status=201 if stored.is_new else 200)
    response["Location"] = f"{request.path}/{stored.task_id}"
    return response


async def _fetched_at_last(request: HttpRequest, task_id: UUID, token: str) -> fetching.Fetched | None:
    """None: the view proper is asked, also where the database is away: it may be back by then."""
    try:
        return await fetching.fetch(task_id, token, request)
    except DATABASE_AWAY:
        return None


async def _submitted_alone(request: HttpRequest, ends: Listening | None, seconds: float) -> HttpResponseBase:
    if ends is None:
        return await in_its_thread(request, lambda: _task_list(request))
    response = await off_loop(lambda: _task_list(request))
    if not isinstance(response, Response) or "Location" not in response:
        return response
    submitted = response.data
    task_id = UUID(submitted["id"] if "id" in submitted else submitted["ids"][0])
    answer: Response | None = response
    if "Idempotency-Key" in request.headers and _is_of_live_task(response):
        # An answer that is given again tells of the task as it was: it may have ended before anybody listened.
        answer = await _answer_at_last(request, task_id)
    if answer is not None and _is_of_live_task(answer):
        await ends.until_terminal(task_id, seconds)
        answer = await _answer_at_last(request, task_id)
    if answer is not None:
        if answer.status_code not in (200, 201):
            return answer
        response.data = answer.data
    return response


async def _answer_at_last(request: HttpRequest, task_id: UUID) -> Response | None:
    """What a submission is answered when the wait for its task is over, or why it is not; None: the task is no
    more, but it was submitted."""
    answer = cast(Response, await off_loop(lambda: _submitted_task(request, task_id=task_id).render()))
    return None if answer.status_code == 404 else answer


def _is_of_live_task(answer: Response) -> bool:
    return answer.status_code in (200, 201) and answer.data.get("state") not in TERMINAL_STATES


@stands_for(TaskDetail)
async def task_detail(request: HttpRequest, task_id: UUID) -> HttpResponseBase:
    """The task; with `?wait=SECONDS`, when it is terminal or the seconds are over."""
    token = plain_token(request) if request.method == "GET" and set(request.GET) <= {"wait"} else None
    seconds = _seconds_to_wait(request)
    with listening() if seconds else nullcontext() as ends:
        response = None
        if token is not None and seconds is not None:
            response = await _read_with_others(request, task_id, token, ends, seconds)
        if response is None:
            response = await _read_alone(request, task_id, ends, seconds or 0.0)
    return response


async def _read_with_others(
    request: HttpRequest, task_id: UUID, token: str, ends: Listening | None, seconds: float
) -> HttpResponseBase | None:
    """None: the view proper is to say what is wrong."""
    try:
        fetched = await fetching.fetch(task_id, token, request)
    except DATABASE_AWAY as error:
        return problem_response(request, TaskDetail, error)
    if ends is not None and fetched is not None and not fetched.is_terminal:
        await ends.until_terminal(task_id, seconds)
        fetched = await _fetched_at_last(request, task_id, token)
        if fetched is None:
            return await _read_alone(request, task_id, None, 0.0)  # not to wait once more
    return None if fetched is None else json_response(request, TaskDetail, fetched.document)


async def _read_alone(
    request: HttpRequest, task_id: UUID, ends: Listening | None, seconds: float
) -> HttpResponseBase:
    """The view proper runs before there is a wait, for who may not read the task is not to wait either."""

    def read() -> HttpResponseBase:
        return _task_detail(request, task_id=task_id)

    if ends is None:
        return await in_its_thread(request, read)
    response = await off_loop(read)
    if isinstance(response, Response) and _is_of_live_task(response):
        await ends.until_terminal(task_id, seconds)
        return await off_loop(read)
    return response


def _seconds_to_wait(request: HttpRequest) -> float | None:
    """None: the view proper says what is wrong."""
    try:
        return wait_seconds(request.GET) if request.method == "GET" else 0.0
    except InvalidParameters:
        return None
