"""`/tasks`: submit, read, wait for, cancel, retry."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from functools import partial
from typing import cast
from uuid import UUID

from rest_framework.request import Request
from rest_framework.response import Response

from queueapp import audit, database, lifecycle
from queueapp.api.base import ApiView
from queueapp.api.documents import attempt_document, latest_attempt_document, receipts_document, task_document
from queueapp.api.idempotency import asked_once, respond_once
from queueapp.api.pagination import ByNumber, NewestFirst
from queueapp.api.parameters import (
    PAGING,
    allow_only,
    filtered_tasks,
    preferred_wait_seconds,
    wait_seconds,
)
from queueapp.api.parsers import BodyParser
from queueapp.api.permissions import (
    asked_at,
    key_of,
    may_read,
    require_names,
    visible_task,
    visible_tasks,
)
from queueapp.api.refusals import Conflict
from queueapp.api.schema.describing import Answer, described, header, query
from queueapp.api.schema.parameters import TASK_FILTERS, lists
from queueapp.api.schema.words import number, ref, text
from queueapp.api.steering import steered
from queueapp.api.submitting import submission_limits, traced
from queueapp.domain.errors import StateForbids
from queueapp.domain.ids import id_text
from queueapp.domain.states import LIVE_STATES, TERMINAL_STATES
from queueapp.domain.submission import Submission
from queueapp.intake import is_array, read_submission, read_submissions
from queueapp.reading import task_by_id

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
            return partial(self._submit_many, request, read_submissions(body, now, submission_limits()), now)
        return partial(self._submit_one, request, read_submission(body, now, submission_limits()), now, waits)

    def _submit_one(self, request: Request, submission: Submission, now: datetime, waits: bool) -> Response:
        (receipt,) = _submit(request, [submission], now)
        headers = {"Location": f"{request.path}/{receipt.task_id}"}
        if waits and receipt.created:
            return Response(receipts_document([receipt.task_id]), status=201, headers=headers)
        task = task_by_id(receipt.task_id)
        assert task is not None
        if not receipt.created and not may_read(key_of(request), task):
            raise Conflict("A live task of another key has this name and unique_key.")
        return Response(task_document(task), status=201 if receipt.created else 200, headers=headers)

    def _submit_many(self, request: Request, submissions: list[Submission], now: datetime) -> Response:
        receipts = _submit(request, submissions, now)
        return Response(receipts_document([receipt.task_id for receipt in receipts]), status=201)


class SubmittedTask(ApiView):
    """For the answer to a submission that waited: whose key was revoked meanwhile gets none."""

    verbs = TaskList.verbs

    def post(self, request: Request, task_id: UUID) -> Response:
        return Response(task_document(visible_task(request, task_id)))


class TaskDetail(ApiView):
    @described("Read a task", {200: Answer("Task")}, parameters=[WAIT], refuses=[404])
    def get(self, request: Request, task_id: UUID) -> Response:
        allow_only(request.query_params, ("wait",))
        wait_seconds(request.query_params)
        return Response(task_document(visible_task(request, task_id)))


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
    submissions = traced(submissions, request)
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
