"""The failed tasks of a group are found, and changed, by one member of a filter."""

from __future__ import annotations

from uuid import uuid4

import pytest
from plans import analyse, plans_of
from rows import NOW, assigned, begin_operation, carry_out, error, pending, row, session

from queueapp import lifecycle, portions, searching
from queueapp.domain.errors import InvalidFilter
from queueapp.domain.states import Action
from queueapp.models import Task
from queueapp.task_filters import selected

pytestmark = pytest.mark.django_db


@pytest.fixture
def worker():
    return session()


def failed(worker, text="broken", count=1, **members):
    tasks = assigned(worker, count, **members)
    lifecycle.finish([error(worker, task_id, text) for task_id in tasks], NOW)
    return tasks


def found(group):
    return set(selected(Task.objects.all(), {"error_group": str(group)}).values_list("id", flat=True))


def test_it_selects_those_that_have_failed_with_it(worker):
    mine = failed(worker, "disk 7 full") + failed(worker, "disk 8 full")
    failed(worker, "no answer")
    failed(worker, "disk 7 full", name="other")
    assert found(row(mine[0]).error_group) == set(mine)
    assert found(uuid4()) == set()


def test_it_does_not_select_a_task_that_was_retried_by_a_process_that_knows_no_groups(worker):
    """Which leaves the group where it is."""
    [task_id] = failed(worker)
    group = row(task_id).error_group
    lifecycle.retry([task_id], NOW)
    Task.objects.filter(pk=task_id).update(error_group=group)
    assert found(group) == set()


def test_none_selects_those_that_failed_before_errors_were_grouped(worker):
    old, _ = failed(worker, count=2)
    pending()
    Task.objects.filter(pk=old).update(error_group=None)
    assert found("none") == {old}


@pytest.mark.parametrize("value", ["", "all", "7", "0" * 31])
def test_another_word_is_refused(value):
    with pytest.raises(InvalidFilter, match="group of errors"):
        found(value)


def test_an_operation_retries_the_group_and_nothing_else(worker):
    mine, others = failed(worker, count=3), failed(worker, "no answer")
    document = {"error_group": str(row(mine[0]).error_group)}
    carry_out(begin_operation(Action.RETRY, row(mine[0]).created_at, **document).id)
    assert {row(task_id).state for task_id in mine} == {"pending"}
    assert row(others[0]).state == "failed"


def test_the_operators_search_goes_through_the_group_alone(worker, monkeypatch):
    monkeypatch.setattr(searching, "FIRST_PORTION", 20)
    monkeypatch.setattr(portions, "SECONDS", 0)
    mine = failed(worker, count=3)
    failed(worker, "no answer", count=100)
    page = searching.page({"error_group": str(row(mine[0]).error_group)}, NOW)
    assert (page.ids, page.looked_at) == (mine[::-1], None)


@pytest.mark.only_on("sqlite", reason="plans are read as SQLite writes them")
@pytest.mark.parametrize(("group", "index"), [(uuid4(), "task_error_group"), ("none", "task_ungrouped")])
def test_they_come_from_an_index_in_the_order_of_a_list(worker, group, index):
    old, *_ = failed(worker, count=30)
    Task.objects.filter(pk=old).update(error_group=None)
    analyse()
    tasks = selected(Task.objects.all(), {"error_group": str(group)}).order_by("-id").values_list("id")
    [plan] = plans_of(lambda: list(tasks))
    assert f"INDEX {index} " in f"{plan} ", plan
    assert "TEMP B-TREE" not in plan, plan
