"""The document put together: what drf-spectacular finds, what the views say, and the shapes.

The operations are written by us, not by it: it has no words for a body that is required and has no serializer,
and would say of every view what it guesses from its parsers and renderers.
"""

from __future__ import annotations

import re
from copy import deepcopy
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.utils.text import slugify
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.openapi import AutoSchema

from queueapp.api.schema.components import components
from queueapp.api.schema.words import Schema, identifier, task_name

SECURITY_SCHEMES = {
    "key": {"type": "http", "scheme": "bearer", "description": "A key, `wq_…`, of the role that the call takes."},
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": "sessionid",
        "description": "Users of the admin. What changes something also takes the CSRF token.",
    },
}
IN_A_PATH = re.compile(r"\{(\w+)\}")
PREFIX = re.compile(r"^/(?:api/v1/)?")


class Described(AutoSchema):
    """The operation that `@described` put on the view's method; a view without one is an error."""

    def get_operation(self, path: str, path_regex: str, path_prefix: str, method: str, registry: Any) -> Schema:
        self.method = method
        serve = getattr(self.view, method.lower())
        operation: Schema | None = getattr(serve, "operation", None)
        if operation is None:
            raise ImproperlyConfigured(f"{method} {path} is served by {self.view!r}, which is not @described.")
        in_path = [
            {"name": name, "in": "path", "required": True, "schema": _of_path(name)}
            for name in IN_A_PATH.findall(path)
        ]
        return {
            "operationId": slugify(operation["summary"]).replace("-", "_"),
            "tags": [PREFIX.sub("", path).partition("/")[0]],
            "description": self.get_description(),
            "security": [{scheme: []} for scheme in SECURITY_SCHEMES],
            **deepcopy(operation),
            "parameters": [*in_path, *operation["parameters"]],
        }


def whole_document() -> Schema:
    document: Schema = SchemaGenerator().get_schema(request=None, public=True)  # type: ignore[no-untyped-call]
    return document


def complete(result: Schema, **context: Any) -> Schema:
    """A hook of drf-spectacular's, after it has gathered the operations."""
    result["components"] = {"schemas": components(), "securitySchemes": SECURITY_SCHEMES}
    return result


def _of_path(name: str) -> Schema:
    return identifier() if name.endswith("_id") else task_name()
