"""Requests for tasks as they come: plain ones are served many at a time, the others by their views; and those that
wait for the end of a task do so here."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from typing import Any, cast
from uuid import UUID

from django.http import HttpRequest, HttpResponseBase
from rest_framework.response import Response

from queueapp.api import fetching, submitting
from queueapp.api.base import in_its_thread, off_loop
from queueapp.api.documents import receipts_json, task_document
from queueapp.api.parameters import InvalidParameters, preferred_wait_seconds, wait_seconds
from queueapp.api.permissions import key_of, may_read
from queueapp.api.plain import json_response, plain_token, problem_response
from queueapp.api.schema.describing import stands_for
from queueapp.api.tasks import SubmittedTask, TaskDetail, TaskList
from queueapp.database import DATABASE_AWAY
from queueapp.domain.states import TERMINAL_STATES
from queueapp.reading import task_while_key_holds
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
            ended = await off_loop(lambda: _submitted_task(request, task_id=stored.task_id).render())
            if ended.status_code not in (200, 404):
                return ended
            # It may be no more, but it was submitted.
            document = ended.content if ended.status_code == 200 else receipts_json([stored.task_id])
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
    answer_anew = partial(_answer_anew, response, task_id)
    # An answer that is given again tells of the task as it was: it may have ended before anybody listened.
    is_current = "Idempotency-Key" not in request.headers or await off_loop(answer_anew)
    if response.data.get("state") not in TERMINAL_STATES:
        if is_current:
            await ends.until_terminal(task_id, seconds)
            is_current = await off_loop(answer_anew)
        if not is_current:
            ended = await off_loop(lambda: _submitted_task(request, task_id=task_id))
            if not isinstance(ended, Response) or ended.status_code not in (200, 404):
                return ended
            if ended.status_code == 200:  # it may be a task that is no more, but it was submitted
                response.data = ended.data
    return response


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
    if not isinstance(response, Response) or response.status_code != 200:
        return response
    if response.data["state"] in TERMINAL_STATES:
        return response
    await ends.until_terminal(task_id, seconds)
    return response if await off_loop(lambda: _answer_anew(response, task_id)) else await off_loop(read)


def _answer_anew(response: Response, task_id: UUID) -> bool:
    """Put the task as it is now into the answer of a view, without going through one again, which takes twice as
    long. False where not all is as it was, with the key above all: what to answer then is for a view to say."""
    asked = cast(Any, response).renderer_context["request"]
    key = key_of(asked)
    try:
        task = None if key is None else task_while_key_holds(task_id, key)
    except DATABASE_AWAY:
        return False
    if task is None or not may_read(key, task):
        return False
    response.data = task_document(task)
    return True


def _seconds_to_wait(request: HttpRequest) -> float | None:
    """None: the view proper says what is wrong."""
    try:
        return wait_seconds(request.GET) if request.method == "GET" else 0.0
    except InvalidParameters:
        return None
