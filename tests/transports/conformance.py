"""Every answer of the API held against what the API says of itself.

Strict where the document is open: an answer has no member that is not described, so that what is added to one is
added to the other.
"""

from __future__ import annotations

import json
import re
from datetime import datetime
from functools import cache
from typing import Any

from django.http import HttpResponseBase
from jsonschema import Draft202012Validator, FormatChecker

from queueapp.api.problems import MEDIA_TYPE
from queueapp.api.schema.document import whole_document

DESCRIBED = re.compile(r"/(?:api/|work/list|healthz|readyz|metrics)")
NOT_THERE = (400, 404)
"""What a path that is not described may be answered with: Django refuses hosts before it looks at paths."""
NOT_ALLOWED = (400, 401, 405)
"""And a method that is not: who has no key is not told what a path can do."""

Schema = dict[str, Any]

FORMATS = FormatChecker(["uuid"])


@FORMATS.checks("date-time", raises=ValueError)
def is_time(value: Any) -> bool:
    return not isinstance(value, str) or (datetime.fromisoformat(value).tzinfo is not None and value.endswith("Z"))


@cache
def document() -> Schema:
    return whole_document()


def closed(schema: Any) -> Any:
    """The schema with every object in it closed that names its members."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    inside = {name: closed(each) for name, each in schema.items()}
    if "properties" in inside and "additionalProperties" not in inside and inside.get("type") == "object":
        inside["additionalProperties"] = False
    return inside


@cache
def validator(pointer: str) -> Draft202012Validator:
    """Of the schema at that place in the document."""
    schema = {"$ref": f"#{pointer}", **closed(document())}
    return Draft202012Validator(schema, format_checker=FORMATS)


def faults(value: Any, pointer: str) -> list[str]:
    return [f"{error.json_path}: {error.message[:500]}" for error in validator(pointer).iter_errors(value)]


def faults_of_component(value: Any, name: str) -> list[str]:
    return faults(value, f"/components/schemas/{name}")


def faults_of_answer(method: str, path: str, response: HttpResponseBase) -> list[str]:
    """What of the answer the document does not say. Nothing of a 500, which no answer is meant to be."""
    if not DESCRIBED.match(path) or response.status_code == 500:
        return []
    template = _template_of(path)
    media_type = response.headers.get("Content-Type", "").partition(";")[0]
    if template is None or method.lower() not in document()["paths"][template]:
        wanted = NOT_THERE if template is None else NOT_ALLOWED
        if response.status_code not in wanted or media_type != MEDIA_TYPE:
            return [f"{method} {path} is not described, and was answered {response.status_code} {media_type}"]
        return faults_of_component(json.loads(response.content), "Problem")
    return _faults_of_described(template, method.lower(), response, media_type)


def _faults_of_described(template: str, method: str, response: HttpResponseBase, media_type: str) -> list[str]:
    answers = document()["paths"][template][method]["responses"]
    answer = answers.get(str(response.status_code))
    if answer is None:
        return [f"{method} {template}: {response.status_code} is not described, but {', '.join(answers)}"]
    if "content" not in answer:
        return [f"{method} {template}: {response.status_code} has content"] if response.content else []
    if media_type not in answer["content"]:
        return [f"{method} {template}: {media_type} is not described"]
    found = [
        f"{method} {template}: {response.status_code} comes with {name}, which is not described"
        for name in ("Location", "Retry-After", "WWW-Authenticate", "Preference-Applied")
        if name in response and name not in answer.get("headers", {})
    ]
    if media_type.endswith("json"):
        escaped = [part.replace("~", "~0").replace("/", "~1") for part in (template, media_type)]
        pointer = f"/paths/{escaped[0]}/{method}/responses/{response.status_code}/content/{escaped[1]}/schema"
        found += faults(json.loads(response.content), pointer)
    return found


@cache
def _patterns() -> list[tuple[re.Pattern[str], str]]:
    """Of the paths. An id that is none is at no path."""
    an_id, a_name = "[0-9a-f-]{36}", "[^/]+"

    def pattern(variable: re.Match[str]) -> str:
        return an_id if variable[1].endswith("_id") else a_name

    return [(re.compile(re.sub(r"\{(\w+)\}", pattern, path) + "$"), path) for path in document()["paths"]]


def _template_of(path: str) -> str | None:
    return next((template for pattern, template in _patterns() if pattern.match(path)), None)
