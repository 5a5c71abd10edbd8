"""Requests that many send all the time, and nothing unusual about them: those are served many at a time.

Through DRF, each by itself, one process serves some six hundred of them a second, of which the statements are the
smallest part. Only what goes well is served so. Whatever is unusual about a request, or is to be refused, is left
to its view, which does the same for one and says what is wrong.
"""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse

from queueapp.api.authentication import token_of
from queueapp.api.base import ApiView, is_apart
from queueapp.api.permissions import IsProducer
from queueapp.api.schema.words import JSON
from queueapp.api.throttling import wait_seconds
from queueapp.models import ApiKey


def plain_token(request: HttpRequest) -> str | None:
    """The key's text that a plain request came with. None: it is for the view."""
    is_plain = is_apart(request) and request.META.get("HTTP_ACCEPT", JSON) in (JSON, "*/*")
    return token_of(request.META.get("HTTP_AUTHORIZATION", "")) if is_plain else None


def may_ask(key: ApiKey | None, request: HttpRequest) -> bool:
    """What DRF would ask of a request that comes with this key. False: the view says what is wrong."""
    return key is not None and key.role in IsProducer.roles and not wait_seconds(request.META, key)


def json_response(request: HttpRequest, view_class: type[ApiView], body: bytes, status: int = 200) -> HttpResponse:
    """As the view would answer the request."""
    view = view_class()
    view.setup(request)
    return HttpResponse(body, status=status, content_type=JSON, headers=view.default_response_headers)
