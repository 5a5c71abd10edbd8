"""What the operators' page of errors is told: which groups there are, how large, and since when."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from rows import NOW, after, assigned, error, row, session

from queueapp import error_groups, lifecycle
from queueapp.models import Attempt, Task

pytestmark = pytest.mark.django_db

AGES = {"minute": 60, "hours": 7200, "days": 200_000}
"""In seconds: of errors in the last hour, in the last day, and before."""


@pytest.fixture
def worker():
    return session()


def failed(worker, text, count=1, ago=0.0, **members):
    """Tasks that have ended with it, so many seconds ago."""
    tasks = assigned(worker, count, **members)
    lifecycle.finish([error(worker, task_id, text) for task_id in tasks], after(-ago))
    return tasks


def shown(window="all"):
    return error_groups.read(window, NOW).groups


class TestAGroup:
    def test_has_its_errors_and_what_became_of_their_tasks(self, worker):
        failed(worker, "disk 7 full", 3)
        [tried_again] = failed(worker, "disk 8 full", retry_on=["error"])
        [group] = shown()
        assert (group.title, group.name) == ("disk <n> full", "tag")
        assert (group.tally.errors, group.tally.final, group.tally.tried_again) == (4, 3, 1)
        assert (group.failed, group.tally.is_exact, group.failed_is_exact) == (3, True, True)
        assert row(tried_again).state == "pending"

    def test_is_known_since_its_first_error_and_read_by_its_last(self, worker):
        failed(worker, "disk 1 full", ago=AGES["days"])
        [latest] = failed(worker, "disk 3 full", ago=5)
        failed(worker, "disk 2 full", ago=AGES["hours"])
        [group] = shown("1h")
        assert (group.first_seen, group.last_seen) == (after(-AGES["days"]), after(-5))
        assert (group.sample, group.task_id, group.sample_is_cut) == ("disk 3 full", latest, False)

    def test_counts_a_task_that_was_retried_no_more(self, worker):
        tasks = failed(worker, "broken", 2)
        lifecycle.retry(tasks[:1], NOW)
        [group] = shown()
        assert (group.tally.errors, group.failed) == (2, 1)

    def test_of_a_long_error_begins_it(self, worker):
        failed(worker, "x" * 1_000_000)
        [group] = shown()
        assert len(group.sample) == 10_000
        assert group.sample_is_cut


class TestTheWindow:
    def test_bounds_what_is_counted(self, worker):
        for text, ago in AGES.items():
            failed(worker, f"it is {text}s", ago=ago)
            failed(worker, "always", ago=ago)
        sizes = {window: {g.title: g.tally.errors for g in shown(window)} for window in error_groups.WINDOWS}
        assert sizes["1h"] == {"always": 1, "it is minutes": 1}
        assert sizes["24h"] == {"always": 2, "it is minutes": 1, "it is hourss": 1}
        assert sizes["all"] == {"always": 3, "it is minutes": 1, "it is hourss": 1, "it is dayss": 1}

    def test_is_told_in_steps_the_oldest_first(self, worker):
        failed(worker, "broken", 2, ago=3599)
        failed(worker, "broken", 1, ago=301)
        failed(worker, "broken", 4, ago=299)
        [group] = shown("1h")
        assert group.tally.trend == (2, *[0] * 9, 1, 4)
        assert shown("all")[0].tally.trend is None

    def test_an_error_of_this_moment_is_in_the_last_step(self, worker):
        failed(worker, "broken", ago=-0.5)  # written by a transaction that began later than this one
        assert shown("1h")[0].tally.trend[-1] == 1


class TestTheLargest:
    def test_come_first_and_the_others_are_spoken_of(self, worker, monkeypatch):
        monkeypatch.setattr(error_groups, "GROUPS", 2)
        for number, text in enumerate(("a", "b", "c"), 1):
            failed(worker, text, number)
        found = error_groups.read("1h", NOW)
        assert [group.title for group in found.groups] == ["c", "b"]
        assert found.has_more

    def test_are_looked_for_among_the_latest_errors_in_a_window(self, worker, monkeypatch):
        monkeypatch.setattr(error_groups, "LATEST", 3)
        failed(worker, "old", 9, ago=30)
        failed(worker, "new", 3, ago=20)
        found = error_groups.read("1h", NOW)
        assert [group.title for group in found.groups] == ["new"]
        assert found.since == after(-20)

    def test_are_found_whatever_their_age_where_there_is_none(self, worker, monkeypatch):
        monkeypatch.setattr(error_groups, "LATEST", 3)
        failed(worker, "old", 9, ago=AGES["days"])
        failed(worker, "new", 3)
        assert [group.title for group in shown()] == ["old", "new"]

    def test_are_counted_to_a_bound_which_is_told(self, worker, monkeypatch):
        monkeypatch.setattr(error_groups, "COUNTED_ROWS", 6)
        failed(worker, "many", 5)
        failed(worker, "few", 2)
        many, few = shown()
        assert (many.tally.errors, many.tally.is_exact, many.failed_is_exact) == (3, False, False)
        assert (few.tally.errors, few.tally.is_exact, few.failed_is_exact) == (2, True, True)


class TestNothing:
    def test_is_shown_of_nothing(self):
        found = error_groups.read("1h", NOW)
        assert (list(found.groups), found.has_more, found.since, found.ungrouped) == ([], False, None, 0)

    def test_is_known_of_those_before_but_their_number(self, worker):
        old = failed(worker, "broken", 2)
        Task.objects.filter(pk__in=old).update(error_group=None)
        Attempt.objects.update(error_group=None)
        found = error_groups.read("all", NOW)
        assert (list(found.groups), found.ungrouped) == ([], 2)


@pytest.mark.parametrize("window", error_groups.WINDOWS)
def test_fifty_groups_take_as_many_statements_as_one(worker, window):
    def statements():
        with CaptureQueriesContext(connection) as captured:
            shown(window)
        return len(captured)

    failed(worker, "broken")
    of_one = statements()
    for number in range(60):
        failed(worker, f"broken in {'x' * number}")
    assert statements() == of_one <= 6
    assert len(shown(window)) == 50
