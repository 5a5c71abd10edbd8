"""What was counted of each queue, a minute a row: of several processes, over failures, and what it costs."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from rows import NOW, after, assigned, done, error, node, pending, session

from queueapp import lifecycle, queue_rollups
from queueapp.models import QueueRollup
from queueapp.queue_rollups import QueueRollups, past

pytestmark = pytest.mark.django_db(transaction=True)


def counted(name: str, minute: int = 0) -> tuple[int, int, int]:
    rows = QueueRollup.objects.filter(name=name, begins_at=after(60 * minute))
    return tuple(map(sum, zip(*rows.values_list("submitted", "finished", "failed"), strict=True))) or (0, 0, 0)


def test_a_minute_is_written_when_it_is_over_by_name():
    counting = QueueRollups(node().id)
    counting.tick(after(1))
    worker = session()
    good, bad, _ = assigned(worker, 3)
    lifecycle.finish([done(worker, good), error(worker, bad)], after(2))
    pending(2, name="other")
    counting.tick(after(59))
    assert not QueueRollup.objects.exists()
    counting.tick(after(60))
    assert (counted("tag"), counted("other")) == ((3, 2, 1), (2, 0, 0))


def test_processes_add_up_and_a_restart_overwrites_nothing():
    for _ in range(2):
        counting = QueueRollups(node().id)
        counting.tick(after(1))
        pending(2)
        counting.end(after(5))
    assert counted("tag") == (4, 0, 0)


def test_what_could_not_be_written_is_written_with_the_next_once(monkeypatch):
    counting = QueueRollups(node().id)
    counting.tick(after(1))
    pending(2)
    write = queue_rollups._write

    def lose_the_answer(rows: list[Any]) -> None:
        write(rows)
        raise OperationalError("the answer was lost")

    monkeypatch.setattr(queue_rollups, "_write", lose_the_answer)
    counting.tick(after(60))
    monkeypatch.setattr(queue_rollups, "_write", write)
    pending(1)
    counting.tick(after(120))
    assert [counted("tag"), counted("tag", 1)] == [(2, 0, 0), (1, 0, 0)]


def test_nothing_is_asked_where_nothing_has_happened():
    counting = QueueRollups(node().id)
    counting.tick(after(1))
    with CaptureQueriesContext(connection) as ran:
        for minute in range(1, 20):
            counting.tick(after(60 * minute))
    assert len(ran) == 0


def test_rows_older_than_an_hour_are_deleted():
    counting = QueueRollups(node().id)
    counting.tick(after(1))
    for minute in (1, 80, 81):
        pending(1)
        counting.tick(after(60 * minute))
    assert list(QueueRollup.objects.values_list("begins_at", flat=True)) == [after(60 * 80)]


class TestThePast:
    def test_has_every_minute_of_the_last_hour_in_tasks_a_second(self):
        QueueRollup.objects.create(name="tag", begins_at=NOW, node=node(), submitted=120, finished=60, failed=6)
        found = past("tag", after(60 * 30 + 20))
        assert len(found["points"]) == 59
        by_time = {point.pop("at"): point for point in found["points"]}
        assert by_time[NOW.timestamp()] == {"submitted": 2.0, "finished": 1.0, "failed": 0.1}
        assert by_time[after(60).timestamp()] == {"submitted": 0.0, "finished": 0.0, "failed": 0.0}

    @pytest.mark.parametrize(("seconds", "last"), [(30, -60), (60, -60), (74, -60), (75, 0), (119, 0)])
    def test_ends_with_the_minute_that_every_process_has_had_time_to_write(self, seconds: int, last: int):
        found = past("tag", after(seconds))
        assert found["points"][-1]["at"] == after(last).timestamp()
        assert found["to"] == after(last + 60).timestamp()

    def test_begins_with_a_minute_that_was_kept_whole(self):
        """Even if what is older than an hour is deleted at that very moment."""
        now = after(60 * 80 + 30)
        for minute in range(15, 25):
            QueueRollup.objects.create(
                name="tag", begins_at=after(60 * minute), node=node(), submitted=60, finished=0, failed=0
            )
        QueueRollup.objects.filter(begins_at__lt=now - queue_rollups.KEPT).delete()
        found = past("tag", now)
        assert found["points"][0] == {"at": found["from"], "submitted": 1.0, "finished": 0.0, "failed": 0.0}
