"""How a view tells what it takes and what it answers: `@described(…)` on the method that serves.

drf-spectacular finds the views. What it would guess from serializers is said here outright: there are none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeVar

from django.views.decorators.csrf import csrf_exempt

from queueapp.api.schema.words import JSON, Schema, ref, said, text, whole
from queueapp.domain.filter_values import MOST_VALUES

if TYPE_CHECKING:  # DRF imports this module while its views are not there yet
    from rest_framework.views import APIView

F = TypeVar("F", bound=Callable[..., Any])

PROBLEM = "application/problem+json"

Parameters = Iterable[Schema]

REFUSALS = {
    400: "A parameter or a field cannot be used: `errors` says which, and why.",
    401: "No key, or one that is unknown or revoked.",
    403: "The key's role or its names do not reach so far.",
    404: "There is no such thing, or none that the key may see.",
    406: "The answer is not to be had in a media type that `Accept` names.",
    409: "The state forbids it.",
    413: "The body, or the array in it, is larger than the limit.",
    415: "The body is not said to be JSON.",
    422: "The `Idempotency-Key` was used before, for another body.",
    429: "The key makes more requests than it may.",
    503: "The database cannot be reached now. Nothing was promised; try again.",
}
"""What every status that refuses means. Where it comes with header fields: `_REFUSAL_HEADERS`."""

ALWAYS = (400, 401, 403, 406, 429, 503)
"""What any request with a key may be refused with."""
WITH_A_BODY = (413, 415)


@dataclass(frozen=True)
class Answer:
    """`schema`: a component's name, or a schema. `headers`: name → its schema. No media type: no content."""

    schema: str | Schema
    description: str = ""
    headers: Mapping[str, Schema] = field(default_factory=dict)
    media_types: tuple[str, ...] = (JSON,)


def described(
    summary: str,
    answers: Mapping[int, Answer],
    *,
    refuses: Iterable[int] = (),
    takes: str | Schema | None = None,
    takes_optionally: str | Schema | None = None,
    parameters: Parameters = (),
    open_to_all: bool = False,
) -> Callable[[F], F]:
    """Describe what a method of a view serves; its docstring, or the view's, says more.

    `refuses`: statuses beyond those that any request may get. `takes`: the body, a component's name or a schema.
    """

    def describe(serve: F) -> F:
        body = takes if takes is not None else takes_optionally
        refused = {*(() if open_to_all else ALWAYS), *refuses, *(WITH_A_BODY if body is not None else ())}
        operation: Schema = {
            "summary": summary,
            "parameters": list(parameters),
            "responses": {
                **{str(status): _response(answer) for status, answer in answers.items()},
                **{str(status): _refusal(status) for status in sorted(refused)},
            },
        }
        if open_to_all:
            operation["security"] = []
        if body is not None:
            operation["requestBody"] = {
                "content": {JSON: {"schema": _schema(body)}},
                "required": takes is not None,
            }
        serve.operation = operation  # type: ignore[attr-defined]  # `document` looks for it
        return serve

    return describe


def stands_for(view_class: type[APIView]) -> Callable[[F], F]:
    """Say of a plain view that this class tells what it takes and answers. It is exempt from the check against
    forged requests, as DRF's views are, which check for themselves."""

    def mark(view: F) -> F:
        view.cls, view.initkwargs = view_class, {}  # type: ignore[attr-defined]  # as DRF's own views have it
        return csrf_exempt(view)

    return mark


def query(name: str, schema: Schema, description: str = "", **how: Any) -> Schema:
    """A query parameter."""
    return said(description, {"name": name, "in": "query", "schema": schema, **how})


def header(name: str, schema: Schema, description: str = "") -> Schema:
    """A header field of a request."""
    return said(description, {"name": name, "in": "header", "schema": schema})


def comma_list(name: str, item: Schema, description: str = "") -> Schema:
    """A query parameter with several values, separated by commas. (Repeats add up too.)"""
    values = {"type": "array", "items": item, "minItems": 1, "maxItems": MOST_VALUES}
    return query(name, values, description, style="form", explode=False)


_REFUSAL_HEADERS: dict[int, dict[str, Schema]] = {
    401: {"WWW-Authenticate": text("Which credential is asked for.")},
    409: {"Retry-After": whole("Seconds. Where the same request is in flight.", minimum=0)},
    429: {"Retry-After": whole("Seconds.", minimum=0)},
    503: {"Retry-After": whole("Seconds.", minimum=0)},
}


def _refusal(status: int) -> Schema:
    description = REFUSALS.get(status, HTTPStatus(status).phrase)
    return _response(Answer("Problem", description, _REFUSAL_HEADERS.get(status, {}), (PROBLEM,)))


def _response(answer: Answer) -> Schema:
    content = {media_type: {"schema": _schema(answer.schema)} for media_type in answer.media_types}
    response: Schema = {"description": answer.description}
    if content:
        response["content"] = content
    if answer.headers:
        response["headers"] = {name: {"schema": schema} for name, schema in answer.headers.items()}
    return response


def _schema(given: str | Schema) -> Schema:
    return ref(given) if isinstance(given, str) else given
