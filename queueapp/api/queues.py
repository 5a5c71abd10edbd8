"""`/queues`: the tasks of a name taken together. Counts are over all producers' tasks."""

from __future__ import annotations

from typing import Any

from rest_framework.request import Request
from rest_framework.response import Response

from queueapp import database, queues
from queueapp.api.base import ApiView
from queueapp.api.documents import Document, queue_document
from queueapp.api.figures import figures_of
from queueapp.api.pagination import ByName
from queueapp.api.parameters import PAGING, allow_only
from queueapp.api.permissions import IsOperator, IsOperatorToChange, IsProducer, require_names, touchable_names
from queueapp.api.schema.components import NOTE_LENGTH
from queueapp.api.schema.describing import Answer, described
from queueapp.api.schema.parameters import lists
from queueapp.api.steering import steered
from queueapp.audit import changes_text
from queueapp.domain.errors import FieldError, InvalidSubmission, NotFound
from queueapp.domain.names import is_task_name
from queueapp.domain.submission import parse_queue_defaults
from queueapp.models import Queue

PAUSED_BY_LENGTH = 200


class QueueList(ApiView):
    rows = Queue

    @lists("Find queues", "Queue", "By name.")
    def get(self, request: Request) -> Response:
        allow_only(request.query_params, PAGING)
        rows = Queue.objects.all()
        names = touchable_names(request)
        if names is not None:
            rows = rows.filter(name__in=names)
        pages = ByName()
        return pages.get_paginated_response(_documents(pages.page_of(rows, request)))


class QueueDetail(ApiView):
    rows = Queue
    permission_classes = (IsProducer, IsOperatorToChange)

    @described("Read a queue", {200: Answer("Queue")}, refuses=[404])
    def get(self, request: Request, name: str) -> Response:
        allow_only(request.query_params, ())
        return Response(_document(request, name))

    @described("Configure a queue", {200: Answer("Queue")}, takes_optionally="QueueChanges", refuses=[404])
    def patch(self, request: Request, name: str) -> Response:
        """Set defaults and limits; null takes one away. What is left out stays as it is. The queue need not have
        had a task yet."""
        allow_only(request.query_params, ())
        changes = parse_queue_defaults(request.data, database.now())
        _require_name(request, name)
        if changes:
            steered(request, "configure", "queue", lambda: queues.configure(name, changes), changes_text(changes))
        return Response(_document(request, name))


class PauseQueue(ApiView):
    """Assign nothing from it. The body may be `{"note": "why"}`. A paused queue stays as it is. It need not have
    had a task yet."""

    rows = Queue
    permission_classes = (IsOperator,)

    @described("Pause a queue", {200: Answer("Queue")}, takes_optionally="Note", refuses=[404])
    def post(self, request: Request, name: str) -> Response:
        allow_only(request.query_params, ())
        note = _note(request.data)
        _require_name(request, name)
        by = str(request.user)[:PAUSED_BY_LENGTH]
        steered(request, "pause", "queue", lambda: queues.pause([name], by, note, database.now()), note)
        return Response(_document(request, name))


class ResumeQueue(ApiView):
    rows = Queue
    permission_classes = (IsOperator,)

    @described("Resume a queue", {200: Answer("Queue")}, refuses=[404])
    def post(self, request: Request, name: str) -> Response:
        allow_only(request.query_params, ())
        _queue(request, name)
        steered(request, "resume", "queue", lambda: queues.resume([name]))
        return Response(_document(request, name))


def _queue(request: Request, name: str) -> Queue:
    """The queue; 403 when the key may not touch the name, whether or not there is such a queue."""
    _require_name(request, name)
    queue = Queue.objects.filter(pk=name).first()
    if queue is None:
        raise NotFound(f"There is no queue {name}.")
    return queue


def _require_name(request: Request, name: str) -> None:
    """403 as `_queue`; 404 for what can be no queue's name."""
    require_names(request, {name})
    if not is_task_name(name):
        raise NotFound(f"There is no queue {name}.")


def _document(request: Request, name: str) -> Document:
    return _documents([_queue(request, name)])[0]


def _documents(rows: list[Queue]) -> list[Document]:
    now = database.now()
    figures = figures_of([queue.name for queue in rows], now)
    return [queue_document(queue, figures[queue.name], now) for queue in rows]


def _note(body: Any) -> str:
    if not isinstance(body, dict):
        raise InvalidSubmission([FieldError("", "the body is a JSON object, or nothing")])
    errors = [FieldError(f"/{member}", "unknown field; known is note") for member in body if member != "note"]
    note = body.get("note", "")
    if not isinstance(note, str) or len(note) > NOTE_LENGTH:
        errors.append(FieldError("/note", f"must be text of at most {NOTE_LENGTH} characters"))
    if errors:
        raise InvalidSubmission(errors)
    return note
