"""`/tasks/cancel`, `/tasks/retry` and `/operations`: many tasks at once, in the background.

A producer's operations touch its own tasks, and it sees only its own; operators see all
that touch no name which is closed to them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar
from uuid import UUID

from django.db import transaction
from django.urls import reverse
from rest_framework.request import Request
from rest_framework.response import Response

from queueapp import audit, background, database, operations
from queueapp.api.base import ApiView
from queueapp.api.documents import operation_document
from queueapp.api.pagination import NewestFirst
from queueapp.api.parameters import PAGING, allow_only
from queueapp.api.permissions import is_operator, key_of, touchable_names, visible_operations
from queueapp.api.refusals import Conflict
from queueapp.api.schema.describing import Answer, described
from queueapp.api.schema.parameters import lists
from queueapp.api.schema.words import text
from queueapp.api.steering import steered
from queueapp.domain.errors import FieldError, InvalidFilter, NotFound
from queueapp.domain.states import Action, OperationState
from queueapp.models import Operation

STARTED = {202: Answer("Operation", "It goes on by itself.", {"Location": text("Where to read how far it is.")})}


class _ManyTasks(ApiView):
    """The body is a filter, of the members that `GET /tasks` knows as parameters. 202 with the operation."""

    action: ClassVar[Action]

    def start(self, request: Request) -> Response:
        allow_only(request.query_params, ())
        if not isinstance(request.data, Mapping):
            raise InvalidFilter([FieldError("", "a filter is a JSON object")])
        names, now = touchable_names(request), database.now()
        if is_operator(request):
            actor = audit.actor_of(request)
            operation = operations.start_for_operator(actor, self.action, request.data, names=names, now=now)
        else:
            asked_by = str(request.user)[: operations.ASKED_BY_LENGTH]
            operation = operations.start(
                self.action, request.data, tasks_of=key_of(request), names=names, asked_by=asked_by, now=now
            )
        transaction.on_commit(background.wake)
        location = reverse("api:operation", args=[operation.id])
        return Response(operation_document(operation), status=202, headers={"Location": location})


class CancelTasks(_ManyTasks):
    action = Action.CANCEL

    @described("Cancel many tasks", STARTED, takes="CancelFilter")
    def post(self, request: Request) -> Response:
        return self.start(request)


class RetryTasks(_ManyTasks):
    action = Action.RETRY

    @described("Retry many tasks", STARTED, takes="RetryFilter")
    def post(self, request: Request) -> Response:
        return self.start(request)


class OperationList(ApiView):
    rows = Operation

    @lists("Find operations", "Operation", "Newest first.")
    def get(self, request: Request) -> Response:
        allow_only(request.query_params, PAGING)
        pages = NewestFirst()
        page = pages.page_of(visible_operations(request), request)
        return pages.get_paginated_response([operation_document(operation) for operation in page])


class OperationDetail(ApiView):
    rows = Operation

    @described("Read an operation", {200: Answer("Operation")}, refuses=[404])
    def get(self, request: Request, operation_id: UUID) -> Response:
        allow_only(request.query_params, ())
        return Response(operation_document(_visible_operation(request, operation_id)))


class StopOperation(ApiView):
    """Change no more tasks; those that were changed stay so. One that was stopped already stays as it is."""

    rows = Operation

    @described("Stop an operation", {200: Answer("Operation")}, refuses=[404, 409])
    def post(self, request: Request, operation_id: UUID) -> Response:
        allow_only(request.query_params, ())
        _visible_operation(request, operation_id)
        steered(request, "stop", "operation", lambda: operations.stop(operation_id, database.now()))
        operation = _visible_operation(request, operation_id)
        if operation.state == OperationState.DONE:
            raise Conflict("The operation is done and cannot be stopped.")
        return Response(operation_document(operation))


def _visible_operation(request: Request, operation_id: UUID) -> Operation:
    operation = visible_operations(request).filter(pk=operation_id).first()
    if operation is None:
        raise NotFound(f"There is no operation {operation_id}.")
    return operation
