"""`/workers`: the sessions of workers. Producers may read them, to see who could take their tasks; operators
steer them. A key for certain names sees the workers that offer one of these, and of those only that."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from django.db.models import Prefetch
from rest_framework.request import Request
from rest_framework.response import Response

from queueapp import database, sessions
from queueapp.api.base import ApiView
from queueapp.api.documents import Document, worker_document
from queueapp.api.pagination import NewestFirst
from queueapp.api.parameters import allow_only, filtered_sessions
from queueapp.api.permissions import IsOperator, is_operator, require_names, touchable_names
from queueapp.api.refusals import Conflict
from queueapp.api.schema.describing import Answer, comma_list, described
from queueapp.api.schema.parameters import lists
from queueapp.api.schema.words import one_of
from queueapp.api.steering import steered
from queueapp.domain.errors import NotFound
from queueapp.domain.states import SessionState
from queueapp.models import Subscription, WorkerSession
from queueapp.querysets import WorkerSessionQuerySet

STATES = comma_list("state", one_of(SessionState), "Without it those that are attached.")


class WorkerList(ApiView):
    """Those that are attached, newest first; `?state=gone` for the rest."""

    rows = WorkerSession

    @lists("Find workers", "Worker", "Newest first.", [STATES])
    def get(self, request: Request) -> Response:
        pages = NewestFirst()
        rows = filtered_sessions(_visible_sessions(request), request.query_params)
        page = pages.page_of(rows, request)
        return pages.get_paginated_response([_document(request, session) for session in page])


class WorkerDetail(ApiView):
    rows = WorkerSession

    @described("Read a worker", {200: Answer("Worker")}, refuses=[404])
    def get(self, request: Request, session_id: UUID) -> Response:
        allow_only(request.query_params, ())
        return Response(_document(request, _visible_session(request, session_id)))


class DrainWorker(ApiView):
    """Give it no more tasks. One that drains already stays as it is."""

    rows = WorkerSession
    permission_classes = (IsOperator,)

    @described("Drain a worker", {200: Answer("Worker")}, refuses=[404, 409])
    def post(self, request: Request, session_id: UUID) -> Response:
        return _steer(request, session_id, "drain", lambda: sessions.drain([session_id]))


class DisconnectWorker(ApiView):
    """End its session; its tasks go to others, uncounted."""

    rows = WorkerSession
    permission_classes = (IsOperator,)

    @described("Disconnect a worker", {200: Answer("Worker")}, refuses=[404, 409])
    def post(self, request: Request, session_id: UUID) -> Response:
        return _steer(request, session_id, "disconnect", lambda: sessions.disconnect([session_id], database.now()))


def _visible_sessions(request: Request) -> WorkerSessionQuerySet:
    """The sessions that the caller may see, each with its node, its load and the subscriptions to show."""
    subscriptions = Subscription.objects.order_by("id")
    rows = WorkerSession.objects.all()
    names = touchable_names(request)
    if names is not None:
        subscriptions = subscriptions.filter(name__in=names)
        rows = rows.filter(pk__in=subscriptions.order_by().values("session"))
    shown = Prefetch("subscriptions", subscriptions)
    return rows.with_outstanding().select_related("node").prefetch_related(shown)


def _visible_session(request: Request, session_id: UUID) -> WorkerSession:
    session = _visible_sessions(request).filter(pk=session_id).first()
    if session is None:
        raise NotFound(f"There is no worker {session_id}.")
    return session


def _steer(request: Request, session_id: UUID, action: str, verb: Callable[[], set[UUID]]) -> Response:
    _require_attached(request, session_id)
    steered(request, action, "worker", verb)
    return Response(_document(request, _visible_session(request, session_id)))


def _require_attached(request: Request, session_id: UUID) -> None:
    """404, 403 when it also performs what the key may not touch, or 409 when it has gone."""
    allow_only(request.query_params, ())
    session = _visible_session(request, session_id)
    names = Subscription.objects.filter(session=session).values_list("name", flat=True)
    require_names(request, set(names))
    if session.state == SessionState.GONE:
        raise Conflict("The worker has gone.")


def _document(request: Request, session: WorkerSession) -> Document:
    outstanding: int = session.outstanding  # type: ignore[attr-defined]  # annotated by with_outstanding
    return worker_document(session, session.subscriptions.all(), outstanding, is_operator(request))
