"""What all views share."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any, ClassVar, TypeVar, cast

from asgiref.sync import sync_to_async
from django.db.models import Model
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from rest_framework.permissions import AllowAny
from rest_framework.request import Request
from rest_framework.views import APIView

from queueapp.api.problems import method_not_allowed
from queueapp.database import give_back_connection
from queueapp.domain.errors import NotFound
from queueapp.models import Task

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

logger = logging.getLogger(__name__)

UNKNOWN_LENGTH = "-1"

APART = "workqueue.apart"

THREADS = 8
"""Of a process for its requests. More would only wait for each other's turn at the interpreter."""


READ_METHODS = ("GET", "HEAD")


class ApiView(APIView):
    """`rows`: what a view is about, and so the permission that an admin user needs: to view it, or by an unsafe
    method to change it, unless `verbs` says otherwise for the method."""

    rows: ClassVar[type[Model]] = Task
    verbs: ClassVar[Mapping[str, str]] = {}

    http_method_names = ["get", "post", "put", "patch", "delete", "head"]
    """What the schema speaks of. DRF would answer OPTIONS with what it guesses of a view."""

    def initialize_request(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Request:
        """DRF takes a body without a Content-Length for none at all; a chunked one is read to its end."""
        if "CONTENT_LENGTH" not in request.META and "HTTP_TRANSFER_ENCODING" in request.META:
            request.META["CONTENT_LENGTH"] = UNKNOWN_LENGTH
        return super().initialize_request(request, *args, **kwargs)


class UnknownPath(APIView):
    """Paths beside the API's that mean nothing, which answer in the API's way too."""

    schema = None  # it is nowhere to be listed
    authentication_classes = ()
    permission_classes = (AllowAny,)

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Whatever the method: a path that is not there allows none."""
        raise NotFound(f"There is nothing at {request.path}.")


def read_only(view: F) -> F:
    """Of a plain view: it answers GET and HEAD."""

    @wraps(view)
    async def answer_later(request: HttpRequest) -> HttpResponseBase:
        return await view(request) if request.method in READ_METHODS else _not_read(request)

    @wraps(view)
    def answer(request: HttpRequest) -> HttpResponseBase:
        return view(request) if request.method in READ_METHODS else _not_read(request)

    return cast(F, answer_later if iscoroutinefunction(view) else answer)


def _not_read(request: HttpRequest) -> HttpResponse:
    return method_not_allowed(str(request.method), READ_METHODS)


async def off_loop(work: Callable[[], T]) -> T:
    """Run database work on a thread of the pool, which keeps no connection of PostgreSQL's.

    Not on the request's own thread: there a connection would stay open as long as the request waits.
    """
    return await asyncio.get_running_loop().run_in_executor(_threads, copy_context().run, _run, work)


def later(work: Callable[[], object]) -> None:
    """The same for what nobody waits for. An error is logged."""
    _threads.submit(_run_unasked, work)


def _run(work: Callable[[], T]) -> T:
    try:
        return work()
    finally:
        give_back_connection()


def _run_unasked(work: Callable[[], object]) -> None:
    try:
        _run(work)
    except Exception:
        logger.warning("What was left for later failed.", exc_info=True)


async def in_its_thread(request: HttpRequest, work: Callable[[], T]) -> T:
    """Run a view proper where Django runs the others of this request, and its middleware: a transaction that
    surrounds the request, as in tests, holds there. A request with a key has no such thread."""
    return await (off_loop(work) if is_apart(request) else sync_to_async(work)())


def set_apart(request: HttpRequest) -> None:
    """Note that no middleware runs on a thread of this request's own."""
    request.META[APART] = True


def is_apart(request: HttpRequest) -> bool:
    return APART in request.META


_threads = ThreadPoolExecutor(THREADS, thread_name_prefix="api")
