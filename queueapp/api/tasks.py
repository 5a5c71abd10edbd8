"""`/tasks`: submit, read, wait for, cancel, retry."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from typing import Any, cast
from uuid import UUID

from django.http import HttpRequest, HttpResponseBase
from rest_framework.request import Request
from rest_framework.response import Response

from queueapp import audit, database, lifecycle
from queueapp.api.base import ApiView, in_its_thread, off_loop
from queueapp.api.documents import Document, attempt_document, latest_attempt_document, task_document
from queueapp.api.idempotency import asked_once, respond_once
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
from queueapp.api.permissions import asked_at, key_of, may_touch, require_names, visible_task, visible_tasks
from queueapp.api.refusals import Conflict
from queueapp.api.schema.describing import Answer, described, header, query, stands_for
from queueapp.api.schema.parameters import TASK_FILTERS, lists
from queueapp.api.schema.words import number, ref, text
from queueapp.api.steering import steered
from queueapp.conf import config
from queueapp.database import DATABASE_AWAY
from queueapp.domain.addresses import read_networks
from queueapp.domain.errors import StateForbids
from queueapp.domain.ids import id_text
from queueapp.domain.states import LIVE_STATES, TERMINAL_STATES
from queueapp.domain.submission import Limits, Submission
from queueapp.domain.tracing import valid_traceparent
from queueapp.intake import is_array, read_submission, read_submissions
from queueapp.models import Task
from queueapp.querysets import is_visible_to
from queueapp.reading import task_by_id, task_while_key_holds
from queueapp.waiting import listening

WAIT = query("wait", number(minimum=0), "Seconds to wait for the task to end; as it is when they are over.")
PREFER = header("Prefer", text(), "`wait=SECONDS`: one task is answered when it has ended, or they are over.")
TRACE = header("traceparent", text(), "W3C Trace Context; a malformed one is ignored.")
ONCE = header(
    "Idempotency-Key",
    {"type": "string", "pattern": "^[!-~]([ -~]{0,253}[!-~])?$"},
    "The request is carried out once: one with the same key and body is given the first answer again.",
)
_SUBMITTED = {
    "Location": text("Of one task: where to read it."),
    "Preference-Applied": text("`wait=SECONDS`, if that was preferred."),
}


class TaskList(ApiView):
    verbs = {"POST": "add"}
    parser_classes = (BodyParser,)

    @lists("Find tasks", "Task", "Newest first.", TASK_FILTERS)
    def get(self, request: Request) -> Response:
        pages = NewestFirst()
        tasks = filtered_tasks(visible_tasks(request), request.query_params)
        return pages.get_paginated_response([task_document(task) for task in pages.page_of(tasks, request)])

    @described(
        "Submit tasks",
        {
            201: Answer({"oneOf": [ref("Task"), ref("Receipts")]}, "They are stored.", _SUBMITTED),
            200: Answer("Task", "The live task that has the unique key.", _SUBMITTED),
        },
        takes="Submissions",
        parameters=[PREFER, TRACE, ONCE],
        refuses=[409, 422],
    )
    def post(self, request: Request) -> Response:
        """One object: 201 with the task, or 200 with the live task of its unique key. An array: all or none."""
        allow_only(request.query_params, ())
        now = asked_at(request)
        # DRF says of a missing body that it is an empty object.
        body = cast(bytes, request.data) or b"{}"
        asked = asked_once(request, body)
        if asked is None:
            return self._read(request, body, now, waits=bool(preferred_wait_seconds(request.headers)))()
        return respond_once(asked, lambda: self._read(request, body, now), now)

    def _read(self, request: Request, body: bytes, now: datetime, waits: bool = False) -> Callable[[], Response]:
        """What is left to do once the body is read and found good. `waits`: for the end of the task, if it is one,
        so that nobody will read how it began."""
        if is_array(body):
            return partial(self._submit_many, request, read_submissions(body, now, _limits()), now)
        return partial(self._submit_one, request, read_submission(body, now, _limits()), now, waits)

    def _submit_one(self, request: Request, submission: Submission, now: datetime, waits: bool) -> Response:
        (receipt,) = _submit(request, [submission], now)
        headers = {"Location": f"{request.path}/{receipt.task_id}"}
        if waits and receipt.created:
            return Response(_receipts([receipt]), status=201, headers=headers)
        task = task_by_id(receipt.task_id)
        assert task is not None
        if not receipt.created and not _may_read(request, task):
            raise Conflict("A live task of another key has this name and unique_key.")
        return Response(task_document(task), status=201 if receipt.created else 200, headers=headers)

    def _submit_many(self, request: Request, submissions: list[Submission], now: datetime) -> Response:
        return Response(_receipts(_submit(request, submissions, now)), status=201)


class SubmittedTask(ApiView):
    """For the answer to a submission that waited: whose key was revoked meanwhile gets none."""

    verbs = TaskList.verbs

    def post(self, request: Request, task_id: UUID) -> Response:
        return Response(task_document(visible_task(request, task_id)))


_task_list = TaskList.as_view()
_submitted_task = SubmittedTask.as_view()


@stands_for(TaskList)
async def task_list(request: HttpRequest) -> HttpResponseBase:
    """The tasks, or a submission. One task with `Prefer: wait=SECONDS` (RFC 7240) is answered when it is terminal
    or the seconds are over; `Preference-Applied` says so."""
    if request.method != "POST" or "Prefer" not in request.headers:
        return await in_its_thread(request, lambda: _task_list(request))
    seconds = preferred_wait_seconds(request.headers)
    with listening() as ends:
        response = await off_loop(lambda: _task_list(request))
        if not seconds or not isinstance(response, Response) or "Location" not in response:
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
    response["Preference-Applied"] = f"wait={seconds:.0f}"
    return response


class TaskDetail(ApiView):
    @described("Read a task", {200: Answer("Task")}, parameters=[WAIT], refuses=[404])
    def get(self, request: Request, task_id: UUID) -> Response:
        allow_only(request.query_params, ("wait",))
        wait_seconds(request.query_params)
        return Response(task_document(visible_task(request, task_id)))


_task_detail = TaskDetail.as_view()


@stands_for(TaskDetail)
async def task_detail(request: HttpRequest, task_id: UUID) -> HttpResponseBase:
    """The task; with `?wait=SECONDS`, when it is terminal or the seconds are over.

    The view proper runs first, for who may not read the task is not to wait either, and again at the end.
    """

    def read() -> HttpResponseBase:
        return _task_detail(request, task_id=task_id)

    seconds = _seconds_to_wait(request)
    if not seconds:
        return await in_its_thread(request, read)
    with listening() as ends:
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
    if task is None or not _may_read(asked, task):
        return False
    response.data = task_document(task)
    return True


def _seconds_to_wait(request: HttpRequest) -> float:
    if request.method != "GET":
        return 0.0
    try:
        return wait_seconds(request.GET)
    except InvalidParameters:
        return 0.0  # the view proper says what is wrong


class AttemptList(ApiView):
    """A task's attempts in their order. The newest may have no row: then the last page ends with it."""

    @lists("Read a task's attempts", "Attempt", "From the first.")
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
    @described("Cancel a task", {200: Answer("Task")}, refuses=[404, 409])
    def post(self, request: Request, task_id: UUID) -> Response:
        return _steer(request, task_id, lifecycle.cancel, "cancel", "cancelled")


class RetryTask(ApiView):
    @described("Retry a task that has ended", {200: Answer("Task")}, refuses=[404, 409])
    def post(self, request: Request, task_id: UUID) -> Response:
        return _steer(request, task_id, lifecycle.retry, "retry", "retried", but_for=LIVE_STATES)


def _steer(
    request: Request,
    task_id: UUID,
    verb: Callable[[list[UUID], datetime], set[UUID]],
    action: str,
    done: str,
    but_for: Iterable[str] = TERMINAL_STATES,
) -> Response:
    """Do the verb to one task: 200 with the task, 409 where its state (one of `but_for`) forbids it."""
    allow_only(request.query_params, ())
    visible_task(request, task_id)
    changed = steered(request, action, "task", lambda: verb([task_id], database.now()))
    task = visible_task(request, task_id)
    if task_id not in changed:
        if task.state in but_for:
            raise StateForbids(done, task.state)
        raise Conflict(f"The task is {task.state} and was not {done}: a live task has its unique_key.")
    return Response(task_document(task))


def _submit(request: Request, submissions: list[Submission], now: datetime) -> list[lifecycle.Receipt]:
    require_names(request, {submission.name for submission in submissions})
    if traceparent := valid_traceparent(request.headers.get("traceparent", "")):
        submissions = [submission._replace(traceparent=traceparent) for submission in submissions]
    key = key_of(request)
    if key is not None:
        return lifecycle.submit(submissions, key, now)
    # An admin user's tasks have no key that would tell whose they are.
    receipts: list[lifecycle.Receipt] = []

    def created() -> list[str]:
        receipts[:] = lifecycle.submit(submissions, None, now)
        return [id_text(receipt.task_id) for receipt in receipts if receipt.created]

    audit.carried_out(audit.actor_of(request), "submit", created, kind="task")
    return receipts


def _receipts(receipts: list[lifecycle.Receipt]) -> Document:
    return {"count": len(receipts), "ids": [id_text(receipt.task_id) for receipt in receipts]}


def _limits() -> Limits:
    limits = config()
    networks = read_networks(limits.callback_allowed_networks)
    return Limits(limits.data_limit_bytes, limits.attrs_limit, limits.bulk_limit, networks)


def _may_read(request: Request, task: Task) -> bool:
    return may_touch(request, task.name) and is_visible_to(task, key_of(request))
