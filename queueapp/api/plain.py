"""Requests that many send all the time, and nothing unusual about them: those are served many at a time.

Through DRF, each by itself, one process serves some six hundred of them a second, of which the statements are the
smallest part. Only what goes well is served so. Whatever is unusual about a request, or is to be refused, is left
to its view, which does the same for one and says what is wrong.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from django.http import HttpRequest, HttpResponse

from queueapp.api import problems
from queueapp.api.authentication import token_of
from queueapp.api.base import ApiView, is_apart, later
from queueapp.api.permissions import IsProducer
from queueapp.api.schema.words import JSON
from queueapp.api.throttling import wait_seconds
from queueapp.auth import is_use_to_be_noted, note_use
from queueapp.models import ApiKey


def plain_token(request: HttpRequest) -> str | None:
    """The key's text that a plain request came with. None: it is for the view."""
    is_plain = is_apart(request) and request.META.get("HTTP_ACCEPT", JSON) in (JSON, "*/*")
    return token_of(request.META.get("HTTP_AUTHORIZATION", "")) if is_plain else None


def may_ask(key: ApiKey | None, request: HttpRequest) -> bool:
    """What DRF would ask of a request that comes with this key. False: the view says what is wrong."""
    return key is not None and key.role in IsProducer.roles and not wait_seconds(request.META, key)


def note_uses(keys: Iterable[ApiKey]) -> None:
    """Of those who ask. Not in their time: it may have to wait for whoever writes."""
    for key in {key.pk: key for key in keys if is_use_to_be_noted(key)}.values():
        later(partial(note_use, key))


def json_response(request: HttpRequest, view: type[ApiView], body: bytes, status: int = 200) -> HttpResponse:
    """As the view would answer the request."""
    return HttpResponse(body, status=status, content_type=JSON, headers=_usual_headers(request, view))


def problem_response(request: HttpRequest, view: type[ApiView], error: Exception) -> HttpResponse:
    """The same where something failed. What nobody foresaw is raised again."""
    response = problems.response_to(error)
    for name, value in _usual_headers(request, view).items():
        response.headers.setdefault(name, value)
    return response


def _usual_headers(request: HttpRequest, view_class: type[ApiView]) -> dict[str, Any]:
    view = view_class()
    view.setup(request)
    return view.default_response_headers
