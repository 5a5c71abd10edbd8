"""The OpenAPI document and its page. That the answers are as described, every test here holds: `conformance`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from django.contrib.staticfiles import finders
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver
from jsonschema import Draft202012Validator
from rest_framework.test import APIClient
from rest_framework.views import APIView

from queueapp.api.base import UnknownPath
from queueapp.api.schema.serving import NOTHING_FROM_ELSEWHERE
from tests.transports.conformance import closed, document, faults_of_component
from tests.transports.conftest import assert_problem, submit

METHODS = {"get", "post", "put", "patch", "delete"}


def patterns(resolver: URLResolver, prefix: str = "/") -> Iterator[tuple[str, Any]]:
    """Each path as the document writes it, with its view."""
    for each in resolver.url_patterns:
        path = prefix + re.sub(r"<\w+:(\w+)>", r"{\1}", str(each.pattern))
        if isinstance(each, URLPattern):
            yield path, each.callback
        elif each.app_name != "admin":
            yield from patterns(each, path)


SERVED = {
    path: callback
    for path, callback in patterns(get_resolver())
    if getattr(callback, "cls", None) is not UnknownPath and path != "/"
}


class TestTheDocument:
    @pytest.mark.parametrize("path", SERVED)
    def test_has_every_path_with_every_method(self, path: str) -> None:
        view: type[APIView] = SERVED[path].cls
        served = {method for method in METHODS if hasattr(view, method)}
        assert document()["paths"][path].keys() == served

    def test_has_no_other(self) -> None:
        assert document()["paths"].keys() == SERVED.keys()

    def test_is_openapi_3_1_whose_shapes_are_json_schemas(self) -> None:
        assert document()["openapi"].startswith("3.1.")
        for schema in document()["components"]["schemas"].values():
            Draft202012Validator.check_schema(schema)

    def test_refers_to_nothing_that_is_not_there(self) -> None:
        names = set(re.findall(r"'#/components/schemas/(\w+)'", str(document())))
        assert names <= document()["components"]["schemas"].keys()

    def test_names_each_call_once(self) -> None:
        ids = [call["operationId"] for path in document()["paths"].values() for call in path.values()]
        assert len(set(ids)) == len(ids)

    def test_says_of_every_refusal_that_it_is_a_problem(self) -> None:
        for path in document()["paths"].values():
            for call in path.values():
                refusals = [answer for status, answer in call["responses"].items() if status >= "400"]
                assert all(list(answer["content"]) == ["application/problem+json"] for answer in refusals)

    def test_is_served_as_json_or_yaml_to_everybody(self) -> None:
        as_json = Client().get("/api/v1/schema")
        assert as_json["Content-Type"] == "application/json"
        assert as_json.json() == document()
        for as_yaml in (
            Client().get("/api/v1/schema?format=yaml"),
            Client().get("/api/v1/schema", headers={"accept": "application/yaml"}),
        ):
            assert as_yaml["Content-Type"].startswith("application/yaml")
            assert yaml.safe_load(as_yaml.content) == document()

    @pytest.mark.parametrize("query", ["format=xml", "version=2"])
    def test_is_not_served_for_a_parameter_that_is_wrong(self, query: str) -> None:
        problem = assert_problem(Client().get(f"/api/v1/schema?{query}"), 400)
        assert problem["errors"][0]["pointer"] == f"/{query.partition('=')[0]}"


class TestTheCheckOfAnswers:
    """The answers of all other tests go through it, so it must be able to fail."""

    @pytest.fixture
    def task(self, operator: APIClient) -> dict[str, Any]:
        return operator.get(f"/api/v1/tasks/{submit(operator)}").json()

    @pytest.mark.parametrize(
        "change", [{"state": "lost"}, {"new": 1}, {"created_at": "yesterday"}, {"id": "7"}, {"attempt": None}]
    )
    def test_finds_a_member_that_is_wrong(self, task: dict[str, Any], change: dict[str, Any]) -> None:
        assert faults_of_component(task, "Task") == []
        assert len(faults_of_component({**task, **change}, "Task")) == 1

    def test_finds_a_member_that_is_missing(self, task: dict[str, Any]) -> None:
        for member in task:
            rest = {name: value for name, value in task.items() if name != member}
            assert faults_of_component(rest, "Task"), member

    def test_leaves_open_what_is_said_to_be(self) -> None:
        assert closed({"type": "object", "properties": {}})["additionalProperties"] is False
        assert closed({"type": "object", "properties": {}, "additionalProperties": True})["additionalProperties"]


class TestThePage:
    def test_loads_and_runs_nothing_but_what_this_server_has(self) -> None:
        page = Client().get("/api/v1/docs")
        assert page["Content-Security-Policy"] == NOTHING_FROM_ELSEWHERE
        text = page.content.decode()
        loaded = re.findall(r'(?:src|href)="([^"]+)"', text)
        assert len(loaded) == 5
        assert all(finders.find(address.removeprefix("/static/")) for address in loaded)
        assert re.findall(r"<script[^>]*>[^<]", text) + re.findall(r"<style| style=| on\w+=", text) == []

    def test_shows_the_document(self) -> None:
        assert 'data-schema="/api/v1/schema"' in Client().get("/api/v1/docs").content.decode()
