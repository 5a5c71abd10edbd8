"""Errors in one form, whatever goes wrong; and the paths that load balancers ask."""

from __future__ import annotations

from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer
from django.db import OperationalError, connection
from django.test import AsyncClient, Client
from rest_framework.test import APIClient

from queueapp.domain.payloads import UNSTORABLE_NUMBER, UNSTORABLE_TEXT
from tests.transports.conftest import assert_problem, submit


class UnreachableLayer(InMemoryChannelLayer):
    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        raise ConnectionError("refused")


def refuse(*args: Any, **kwargs: Any) -> None:
    raise OperationalError("the server closed the connection unexpectedly")


@pytest.mark.django_db
class TestAnError:
    @pytest.mark.parametrize(
        "path", ["/api/v1/nothing", "/api/v1/", "/api/v2/tasks", "/api/", "/api/v1/tasks/7", "/work/nothing"]
    )
    def test_about_a_path_is_404(self, path: str) -> None:
        assert_problem(APIClient().get(path), 404)
        assert_problem(APIClient().post(path), 404)

    @pytest.mark.parametrize(
        ("method", "path", "allowed"),
        [
            ("delete", "tasks", {"GET", "HEAD", "POST"}),
            ("options", "tasks", {"GET", "HEAD", "POST"}),
            ("put", "queues", {"GET", "HEAD"}),
            ("post", "tasks/{id}", {"GET", "HEAD"}),
            ("get", "tasks/{id}/cancel", {"POST"}),
            ("post", "docs", {"GET", "HEAD"}),
            ("post", "schema", {"GET", "HEAD"}),
        ],
    )
    def test_about_a_method_is_405(self, operator: APIClient, method: str, path: str, allowed: set[str]) -> None:
        response = getattr(operator, method)("/api/v1/" + path.format(id=submit(operator)))
        assert_problem(response, 405)
        assert set(response["Allow"].split(", ")) == allowed

    @pytest.mark.parametrize(
        ("body", "fault"),
        [
            ('{"name": "t"', "not JSON: Expecting ',' delimiter at character 12"),
            (r'{"name": "t", "data": "\u0000"}', UNSTORABLE_TEXT),
            (r'{"name": "t", "data": "\udc00"}', UNSTORABLE_TEXT),
            ('{"name": "t", "data": NaN}', "NaN is not JSON; send null, or text"),
            ('{"name": "t", "data": 1e999}', UNSTORABLE_NUMBER),
            ('{"name": "t", "data": -' + "9" * 4301 + "}", UNSTORABLE_NUMBER),
            ('{"name": "t", "data": ' + "[" * 65 + "]" * 65 + "}", "nested deeper than 64 levels"),
        ],
    )
    def test_about_a_body_is_a_sentence(self, producer: APIClient, body: str, fault: str) -> None:
        response = producer.post("/api/v1/tasks", body, content_type="application/json")
        assert assert_problem(response, 400)["detail"] == f"The body cannot be used: {fault}."

    def test_about_the_database_is_503(self, operator: APIClient) -> None:
        with connection.execute_wrapper(refuse):
            response = operator.get("/api/v1/tasks")
        assert_problem(response, 503)
        assert response["Retry-After"]

    def test_that_nobody_foresaw_is_500(self, operator: APIClient) -> None:
        def fail(*args: Any, **kwargs: Any) -> None:
            raise ZeroDivisionError

        operator.raise_request_exception = False
        with connection.execute_wrapper(fail):
            assert_problem(operator.get("/api/v1/tasks"), 500)

    def test_about_the_host_is_400(self) -> None:
        assert_problem(APIClient().get("/api/v1/tasks", headers={"host": "evil.example"}), 400)


class TestHealth:
    def test_is_told_without_a_key_or_a_database(self) -> None:
        response = Client().get("/healthz")
        assert (response.status_code, response.json()) == (200, {"status": "ok"})

    @pytest.mark.parametrize("path", ["/healthz", "/readyz"])
    def test_is_read_only(self, path: str) -> None:
        response = Client().post(path)
        assert_problem(response, 405)
        assert response["Allow"] == "GET, HEAD"


@pytest.mark.django_db(transaction=True)
class TestReadiness:
    async def test_takes_database_and_channel_layer(self) -> None:
        response = await AsyncClient().get("/readyz")
        assert (response.status_code, response.json()) == (200, {"status": "ready"})

    async def test_is_503_without_the_channel_layer(self, settings: Any) -> None:
        settings.CHANNEL_LAYERS = {"default": {"BACKEND": f"{__name__}.UnreachableLayer"}}
        problem = assert_problem(await AsyncClient().get("/readyz"), 503)
        assert "channel layer" in problem["detail"]
        assert "database" not in problem["detail"]


async def test_readiness_is_503_without_the_database() -> None:
    """Without its mark, pytest-django refuses the test every connection."""
    problem = assert_problem(await AsyncClient().get("/readyz"), 503)
    assert "database" in problem["detail"]


def test_the_root_leads_to_the_admin() -> None:
    response = Client().get("/")
    assert (response.status_code, response["Location"]) == (302, "/admin/")
