"""`/tasks`: submit, read, wait for, cancel, retry."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import cast
from uuid import UUID

from django.http import HttpRequest, HttpResponseBase
from django.urls import reverse
from django.views.decorators.csrf import csrf_exempt
from rest_framework.request import Request
from rest_framework.response import Response

from queueapp import database, lifecycle
from queueapp.api.base import ApiView, in_its_thread, off_loop
from queueapp.api.documents import attempt_document, latest_attempt_document, task_document
from queueapp.api.pagination import ByNumber, NewestFirst
from queueapp.api.parameters import (
    PAGING,
    InvalidParameters,
    allow_only,
    filtered_tasks,
    preferred_wait_seconds,
    wait_seconds,
)
from queueapp.api.parsers import BodyParser
from queueapp.api.permissions import key_of, may_touch, require_names, visible_task, visible_tasks
from queueapp.api.refusals import BadRequest, Conflict
from queueapp.conf import config
from queueapp.domain.addresses import read_networks
from queueapp.domain.errors import StateForbids
from queueapp.domain.states import LIVE_STATES, TERMINAL_STATES
from queueapp.domain.submission import Limits, Submission
from queueapp.intake import is_array, read_submission, read_submissions
from queueapp.models import Task
from queueapp.waiting import until_terminal

TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


class TaskList(ApiView):
    parser_classes = (BodyParser,)

    def get(self, request: Request) -> Response:
        pages = NewestFirst()
        tasks = filtered_tasks(visible_tasks(request), request.query_params)
        return pages.get_paginated_response([task_document(task) for task in pages.page_of(tasks, request)])

    def post(self, request: Request) -> Response:
        """One object: 201 with the task, or 200 with the live task of its unique key. An array: all or none."""
        allow_only(request.query_params, ())
        if "Idempotency-Key" in request.headers:
            # To ignore it would break a promise: who sends it relies on a repetition doing nothing.
            raise BadRequest("Idempotency-Key is not supported: submit without it, or with a unique_key.")
        now = database.now()
        # DRF says of a missing body that it is an empty object.
        body = cast(bytes, request.data) or b"{}"
        return self._submit_many(request, body, now) if is_array(body) else self._submit_one(request, body, now)

    def _submit_one(self, request: Request, body: bytes, now: datetime) -> Response:
        submission = read_submission(body, now, _limits())
        (receipt,) = _submit(request, [submission], now)
        task = Task.objects.select_related("route").get(pk=receipt.task_id)
        if not receipt.created and not _may_read(request, task):
            raise Conflict("A live task of another key has this name and unique_key.")
        location = reverse("api:task", args=[task.id])
        status = 201 if receipt.created else 200
        return Response(task_document(task), status=status, headers={"Location": location})

    def _submit_many(self, request: Request, body: bytes, now: datetime) -> Response:
        receipts = _submit(request, read_submissions(body, now, _limits()), now)
        ids = [str(receipt.task_id) for receipt in receipts]
        return Response({"count": len(ids), "ids": ids}, status=201)


_task_list = TaskList.as_view()


@csrf_exempt
async def task_list(request: HttpRequest) -> HttpResponseBase:
    """The tasks, or a submission. One task with `Prefer: wait=SECONDS` (RFC 7240) is answered when it is terminal
    or the seconds are over; `Preference-Applied` says so."""
    if request.method != "POST" or "Prefer" not in request.headers:
        return await in_its_thread(request, lambda: _task_list(request))
    response = await off_loop(lambda: _task_list(request))
    seconds = preferred_wait_seconds(request.headers)
    if not seconds or not isinstance(response, Response) or "state" not in (response.data or {}):
        return response
    if response.status_code not in (200, 201):
        return response
    task_id = UUID(response.data["id"])
    if response.data["state"] not in TERMINAL_STATES:
        await until_terminal(task_id, seconds)
        response.data = await off_loop(lambda: task_document(Task.objects.select_related("route").get(pk=task_id)))
    response["Preference-Applied"] = f"wait={seconds:.0f}"
    return response


class TaskDetail(ApiView):
    def get(self, request: Request, task_id: UUID) -> Response:
        allow_only(request.query_params, ("wait",))
        wait_seconds(request.query_params)
        return Response(task_document(visible_task(request, task_id)))


_task_detail = TaskDetail.as_view()


@csrf_exempt
async def task_detail(request: HttpRequest, task_id: UUID) -> HttpResponseBase:
    """The task; with `?wait=SECONDS`, when it is terminal or the seconds are over.

    The view proper runs first, for who may not read the task is not to wait either, and again at the end.
    """

    def read() -> HttpResponseBase:
        return _task_detail(request, task_id=task_id)

    seconds = _seconds_to_wait(request)
    if not seconds:
        return await in_its_thread(request, read)
    response = await off_loop(read)
    if not isinstance(response, Response) or response.status_code != 200:
        return response
    if response.data["state"] in TERMINAL_STATES:
        return response
    await until_terminal(task_id, seconds)
    return await off_loop(read)


def _seconds_to_wait(request: HttpRequest) -> float:
    if request.method != "GET":
        return 0.0
    try:
        return wait_seconds(request.GET)
    except InvalidParameters:
        return 0.0  # the view proper says what is wrong


class AttemptList(ApiView):
    """A task's attempts in their order. The newest may have no row: then the last page ends with it."""

    def get(self, request: Request, task_id: UUID) -> Response:
        allow_only(request.query_params, PAGING)
        task = visible_task(request, task_id)
        pages = ByNumber()
        attempts = pages.page_of(task.attempts.all(), request)
        results = [attempt_document(attempt) for attempt in attempts]
        if pages.get_next_link() is None:
            latest = latest_attempt_document(task, {attempt.number for attempt in attempts})
            results += [latest] if latest else []
        return pages.get_paginated_response(results)


class CancelTask(ApiView):
    def post(self, request: Request, task_id: UUID) -> Response:
        return _steer(request, task_id, lifecycle.cancel, "cancelled")


class RetryTask(ApiView):
    def post(self, request: Request, task_id: UUID) -> Response:
        return _steer(request, task_id, lifecycle.retry, "retried", but_for=LIVE_STATES)


def _steer(
    request: Request,
    task_id: UUID,
    verb: Callable[[list[UUID], datetime], set[UUID]],
    done: str,
    but_for: Iterable[str] = TERMINAL_STATES,
) -> Response:
    """Do the verb to one task: 200 with the task, 409 where its state (one of `but_for`) forbids it."""
    allow_only(request.query_params, ())
    visible_task(request, task_id)
    changed = verb([task_id], database.now())
    task = visible_task(request, task_id)
    if task_id not in changed:
        if task.state in but_for:
            raise StateForbids(done, task.state)
        raise Conflict(f"The task is {task.state} and was not {done}: a live task has its unique_key.")
    return Response(task_document(task))


def _submit(request: Request, submissions: list[Submission], now: datetime) -> list[lifecycle.Receipt]:
    require_names(request, {submission.name for submission in submissions})
    traceparent = request.headers.get("traceparent", "")
    if TRACEPARENT.fullmatch(traceparent):  # one that is malformed is to be ignored, says W3C Trace Context
        submissions = [submission._replace(traceparent=traceparent) for submission in submissions]
    return lifecycle.submit(submissions, key_of(request), now)


def _limits() -> Limits:
    limits = config()
    networks = read_networks(limits.callback_allowed_networks)
    return Limits(limits.data_limit_bytes, limits.attrs_limit, limits.bulk_limit, networks)


def _may_read(request: Request, task: Task) -> bool:
    return may_touch(request, task.name) and Task.objects.visible_to(key_of(request)).filter(pk=task.pk).exists()
