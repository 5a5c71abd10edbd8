"""What looks nearly like a value is refused as what is not."""

from __future__ import annotations

import pytest
from rest_framework.test import APIClient

from tests.transports.conftest import assert_problem, submit

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("either_way")]

ID = "01890a5d-ac96-774b-bcce-b302099a8057"


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("worker", ID.replace("-", "")),
        ("worker", f"{{{ID}}}"),
        ("created_after", "2030-W05-4T12:00:00Z"),
        ("created_before", "20300131T120000Z"),
        ("limit", "1e1"),
    ],
)
def test_of_a_list(producer: APIClient, parameter: str, value: str) -> None:
    problem = assert_problem(producer.get("/api/v1/tasks", {parameter: value}), 400)
    assert problem["errors"][0]["pointer"] == f"/{parameter}"


@pytest.mark.parametrize("wait", ["1_0", " 1", "+1", "1.", ".5", "-1", "inf", "nan", "0x1", "\u0661", ""])
def test_of_a_wait(producer: APIClient, wait: str) -> None:
    problem = assert_problem(producer.get(f"/api/v1/tasks/{submit(producer)}", {"wait": wait}), 400)
    assert problem["errors"][0]["pointer"] == "/wait"


@pytest.mark.parametrize("wait", ["0", "0.0", "0e5", "0E-3"])
def test_every_way_to_write_a_number_is_taken(producer: APIClient, wait: str) -> None:
    assert producer.get(f"/api/v1/tasks/{submit(producer)}", {"wait": wait}).status_code == 200
