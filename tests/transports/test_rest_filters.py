"""The API's filters are the contract's: what the operators' bar knows beyond them is no part of it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from rest_framework.test import APIClient

from queueapp import database, operations
from queueapp.domain.states import Action
from queueapp.models import Operation, Task
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
    operation = operations.start(
        Action.CANCEL, {"data.node.id": "x", "age": ">1h"}, tasks_of=None, names=None, asked_by="ada", now=now
    )
    assert operation.total == 1
    while operations.carry_on(operation.pk):
        pass
    assert [state_of(task_id) for task_id in (wanted, young, other)] == ["cancelled", "pending", "pending"]


def test_an_operation_counts_ages_from_its_beginning(operator: APIClient) -> None:
    """However long it takes: what was not meant when it was asked for does not come to be meant."""
    task_id, begun = submit(operator), database.now() - timedelta(minutes=30)
    Task.objects.filter(pk=task_id).update(created_at=begun - timedelta(minutes=59))
    operation = operations.start(
        Action.CANCEL, {"age": ">1h"}, tasks_of=None, names=None, asked_by="ada", now=begun
    )
    while operations.carry_on(operation.pk):
        pass
    assert state_of(task_id) == "pending"
