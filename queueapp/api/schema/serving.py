"""`/api/v1/schema`: the document, as JSON or YAML. `/api/v1/docs`: a page to browse it, all served from here.

Both are the same for everybody and open to all.
"""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from drf_spectacular.renderers import OpenApiJsonRenderer2, OpenApiYamlRenderer2
from rest_framework.permissions import AllowAny
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from queueapp.api.base import ApiView, read_only
from queueapp.api.parameters import InvalidParameters, allow_only, invalid
from queueapp.api.schema.describing import Answer, described, query, stands_for
from queueapp.api.schema.document import whole_document
from queueapp.api.schema.words import one_of

FORMATS: dict[str, type[BaseRenderer]] = {"json": OpenApiJsonRenderer2, "yaml": OpenApiYamlRenderer2}
FORMAT = query("format", one_of(FORMATS), "Instead of an `Accept` header.")
DOCUMENT = Answer({"type": "object"}, media_types=tuple(each.media_type for each in FORMATS.values()))
PAGE = Answer({"type": "string"}, media_types=("text/html",))

NOTHING_FROM_ELSEWHERE = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""What the page may load and ask: this server."""


class SchemaDocument(ApiView):
    """OpenAPI 3.1, in JSON unless `Accept` or `?format=` asks for YAML."""

    authentication_classes = ()
    permission_classes = (AllowAny,)
    renderer_classes = tuple(FORMATS.values())

    @described("This document", {200: DOCUMENT}, parameters=[FORMAT], refuses=[400, 406], open_to_all=True)
    def get(self, request: Request) -> Response:
        return Response(whole_document())

    def get_format_suffix(self, **kwargs: Any) -> str | None:
        """DRF asks for it before it looks at `Accept`."""
        given = self.request.query_params
        allow_only(given, ["format"])
        if given.get("format", "json") not in FORMATS:
            raise InvalidParameters([invalid("format", f"must be {' or '.join(FORMATS)}")])
        return given.get("format")


class DocsPage(ApiView):
    """Swagger UI, whose files come from this server: it works without the internet."""

    @described("A page to browse it", {200: PAGE}, open_to_all=True)
    def get(self) -> None: ...


@stands_for(DocsPage)
@read_only
def docs(request: HttpRequest) -> HttpResponse:
    page = render(request, "queueapp/docs.html")
    page["Content-Security-Policy"] = NOTHING_FROM_ELSEWHERE
    return page
