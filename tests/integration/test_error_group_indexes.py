"""The errors' page reads no more of the tables than it shows, however many errors there are."""

from __future__ import annotations

import pytest
from plans import analyse, plans_of
from rows import NOW, assigned, error, session

from queueapp import error_groups, lifecycle

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.only_on("sqlite", reason="plans are read as SQLite writes them"),
]


@pytest.fixture(autouse=True)
def errors():
    worker = session()
    for number in range(20):
        tasks = assigned(worker, 20)
        reports = [error(worker, task_id, f"broken in {'x' * number}") for task_id in tasks]
        lifecycle.finish(reports, NOW)
    analyse()


def all_plans(window: str) -> list[str]:
    return plans_of(lambda: error_groups.read(window, NOW), "queueapp_attempt", "queueapp_task")


def test_the_latest_errors_come_from_their_index_in_its_order():
    latest, *_ = all_plans("24h")
    assert "SEARCH queueapp_attempt USING COVERING INDEX attempt_error_ended (ended_at>?)" in latest, latest
    assert latest.count("TEMP B-TREE") == 1, f"more than the groups is sorted: {latest}"


def test_groups_of_any_age_are_found_step_by_step():
    _, steps, *_ = all_plans("all")
    assert "SEARCH queueapp_attempt USING COVERING INDEX attempt_error_group (error_group>?)" in steps, steps
    assert "SEARCH queueapp_attempt USING COVERING INDEX attempt_error_group (error_group=?)" in steps, steps
    assert "TEMP B-TREE" not in steps, steps


@pytest.mark.parametrize("window", error_groups.WINDOWS)
def test_nothing_else_is_read_but_what_an_index_leads_to(window):
    read = "\n".join(all_plans(window)).splitlines()
    tables = [line for line in read if "queueapp_attempt" in line or "queueapp_task" in line]
    scans = [line for line in tables if line.startswith("SCAN")]
    by_an_end = ("INDEX attempt_error_ended", "INDEX attempt_error_group", "INDEX task_ungrouped")
    assert [line for line in scans if not any(index in line for index in by_an_end)] == []
    assert any("task_error_group (error_group=?" in line for line in tables)


def test_a_groups_errors_are_counted_without_a_look_at_their_rows():
    _, tallies, *_ = all_plans("1h")
    searches = [line for line in tallies.splitlines() if "queueapp_attempt" in line]
    wanted = "SEARCH queueapp_attempt USING COVERING INDEX attempt_error_group (error_group=? AND ended_at>?)"
    assert set(searches) == {wanted}
