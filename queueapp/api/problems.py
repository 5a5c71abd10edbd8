"""Every error of the API as a problem document (RFC 9457): `type`, `title`, `status`, `detail`, and `errors`.

`type` is `about:blank` where the status says it all, else a URN that programs can tell apart. `errors` names
each wrong field: `pointer` is a JSON pointer into the body (of a query: `/` and the parameter), `index` the
place in a bulk submission.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from django.core.exceptions import RequestDataTooBig
from django.db import InterfaceError, InternalError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.views import defaults
from rest_framework.response import Response
from rest_framework.views import exception_handler as drf_exception_handler

from queueapp import database
from queueapp.api.parameters import InvalidParameters
from queueapp.domain.errors import (
    FieldError,
    Forbidden,
    IdempotencyKeyReused,
    InvalidFilter,
    InvalidJson,
    InvalidSubmission,
    NotFound,
    RequestInFlight,
    StateForbids,
    TooManySubmissions,
)

MEDIA_TYPE = "application/problem+json"
URN = "urn:workqueue:problem:"
RETRY_AFTER_SECONDS = 1


def document(
    status: int, detail: str, kind: str = "", title: str = "", errors: Sequence[FieldError] = ()
) -> dict[str, Any]:
    """A problem document. `kind` completes the URN of its type."""
    body: dict[str, Any] = {
        "type": URN + kind if kind else "about:blank",
        "title": title or HTTPStatus(status).phrase,
        "status": int(status),
        "detail": detail,
    }
    if errors:
        body["errors"] = [_field_document(error) for error in errors]
    return body


def exception_handler(exception: Exception, context: dict[str, Any]) -> Response | None:
    """What DRF answers for an exception. None lets one that nobody foresaw go on, to be logged as a 500."""
    match exception:
        case InvalidSubmission(errors=errors):
            return _problem(400, _summary(errors), "invalid-submission", "Invalid submission", errors)
        case InvalidParameters(errors=errors):
            return _problem(400, _summary(errors), "invalid-parameters", "Invalid parameters", errors)
        case InvalidFilter(errors=errors):
            return _problem(400, _summary(errors), "invalid-filter", "Invalid filter", errors)
        case InvalidJson(reason=reason):
            return _problem(400, f"The body cannot be used: {reason}.", "invalid-json", "Invalid JSON")
        case StateForbids():
            return _problem(409, str(exception), "state-forbids", "The state forbids it")
        case RequestInFlight():
            response = _problem(409, str(exception), "request-in-flight", "The request is in flight")
            response["Retry-After"] = str(RETRY_AFTER_SECONDS)
            return response
        case IdempotencyKeyReused():
            return _problem(422, str(exception), "idempotency-key-reused", "The idempotency key was used before")
        case Forbidden():
            return _problem(403, str(exception))
        case NotFound():
            return _problem(404, str(exception))
        case TooManySubmissions():
            return _problem(413, str(exception))
        case RequestDataTooBig():
            return _problem(413, "The body is too large.")
        case OperationalError() | InterfaceError():
            response = _problem(503, "The database cannot be reached now. Nothing was promised; try again.")
            response["Retry-After"] = str(RETRY_AFTER_SECONDS)
            return response
        case InternalError() if database.was_idle_for_too_long(exception):
            return exception_handler(OperationalError(), context)
    response_of_drf = drf_exception_handler(exception, context)
    if response_of_drf is None:
        return None
    response = _problem(response_of_drf.status_code, _detail(response_of_drf.data))
    for header in ("WWW-Authenticate", "Retry-After"):
        if header in response_of_drf:
            response[header] = response_of_drf[header]
    return response


def response_to(exception: Exception) -> HttpResponse:
    """The same for who is served beside DRF. Raises again what nobody foresaw."""
    answer = exception_handler(exception, {})
    if answer is None:
        raise exception
    response = _json(answer.status_code, answer.data)
    if "Retry-After" in answer:
        response["Retry-After"] = answer["Retry-After"]
    return response


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Django's 400, for what is refused before a view is found."""
    if not _is_of_the_api(request):
        return defaults.bad_request(request, exception)
    return _plain(400, "The request cannot be understood.")


def server_error(request: HttpRequest) -> HttpResponse:
    """Django's 500, which Django has logged with its cause."""
    if not _is_of_the_api(request):
        return defaults.server_error(request)
    return _plain(500, "Something went wrong here that nobody foresaw; it has been logged.")


def unavailable(detail: str) -> HttpResponse:
    return _plain(503, detail)


def too_large(limit_bytes: int) -> HttpResponse:
    return _plain(413, f"A body has at most {limit_bytes} bytes.")


def method_not_allowed(method: str, allowed: Sequence[str]) -> HttpResponse:
    response = _plain(405, f'Method "{method}" not allowed.')
    response["Allow"] = ", ".join(allowed)
    return response


def _is_of_the_api(request: HttpRequest) -> bool:
    return request.path.startswith(("/api/", "/work/"))


def _problem(
    status: int, detail: str, kind: str = "", title: str = "", errors: Sequence[FieldError] = ()
) -> Response:
    return Response(document(status, detail, kind, title, errors), status=status, content_type=MEDIA_TYPE)


def _plain(status: int, detail: str) -> HttpResponse:
    return _json(status, document(status, detail))


def _json(status: int, body: Any) -> HttpResponse:
    return HttpResponse(json.dumps(body), status=status, content_type=MEDIA_TYPE)


def _field_document(error: FieldError) -> dict[str, Any]:
    field: dict[str, Any] = {"pointer": error.pointer, "message": error.message}
    if error.index is not None:
        field["index"] = error.index
    return field


def _summary(errors: Sequence[FieldError]) -> str:
    first = str(errors[0])
    return first if len(errors) == 1 else f"{first} (and {len(errors) - 1} more)"


def _detail(data: Any) -> str:
    """DRF's errors are `{"detail": …}`, save for those of serialisers, which are not used here."""
    return str(data["detail"]) if isinstance(data, dict) and "detail" in data else str(data)
