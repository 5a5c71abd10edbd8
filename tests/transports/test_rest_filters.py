"""The API's filters are the contract's: what the operators' bar knows beyond them is no part of it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from rest_framework.test import APIClient

from queueapp import database
from queueapp.domain.states import Action
from queueapp.models import Operation, Task
from tests.integration.rows import begin_operation, carry_out
from tests.transports.conftest import assert_problem, state_of, submit

pytestmark = pytest.mark.django_db

OPERATORS_OWN = {
    "error": "~x",
    "age": ">1h",
    "waiting": ">1h",
    "finished": "<1h",
    "created": "2026-01-31",
    "id": "0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b",
    "data.node.id": "x",
}


@pytest.mark.parametrize("name", OPERATORS_OWN)
def test_a_filter_of_the_operators_is_an_unknown_parameter(producer: APIClient, name: str) -> None:
    response = producer.get("/api/v1/tasks", {name: OPERATORS_OWN[name]})
    assert "unknown parameter" in assert_problem(response, 400)["errors"][0]["message"]


@pytest.mark.parametrize(
    "member", [*OPERATORS_OWN.items(), ("worker", "w7"), ("attr.cloud", ["aws", "gcp"]), ("name", "ta*")]
)
def test_a_filter_of_the_operators_starts_no_operation(producer: APIClient, member: tuple[str, object]) -> None:
    task_id = submit(producer)
    response = producer.post("/api/v1/tasks/cancel", dict([member]), format="json")
    assert_problem(response, 400)
    assert not Operation.objects.exists()
    assert state_of(task_id) == "pending"


def test_an_operator_starts_one_by_any_filter_of_the_bar(operator: APIClient) -> None:
    wanted = submit(operator, data={"node": {"id": "x"}})
    young, other = submit(operator, data={"node": {"id": "x"}}), submit(operator)
    now = database.now()
    Task.objects.filter(pk__in=[wanted, other]).update(created_at=now - timedelta(hours=2))
    begun = begin_operation(Action.CANCEL, now, **{"data.node.id": "x", "age": ">1h"})
    assert begun.total == 1
    carry_out(begun.id)
    assert [state_of(task_id) for task_id in (wanted, young, other)] == ["cancelled", "pending", "pending"]


def test_an_operation_counts_ages_from_its_beginning(operator: APIClient) -> None:
    """However long it takes: what was not meant when it was asked for does not come to be meant."""
    task_id, begun = submit(operator), database.now() - timedelta(minutes=30)
    Task.objects.filter(pk=task_id).update(created_at=begun - timedelta(minutes=59))
    carry_out(begin_operation(Action.CANCEL, begun, age=">1h").id)
    assert state_of(task_id) == "pending"
