"""What the planner is told for brief transactions. Their plans are kept for as long as a connection lives."""

from __future__ import annotations

import pytest
from plans import plans_of
from rows import NOW, assigned, pending, session

from queueapp import access, database, maintenance, statements
from queueapp.lifecycle import activity
from queueapp.models import new_id

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.only_on("postgresql", reason="SQLite never reads a whole table where it has an index"),
]


def test_a_plan_that_is_made_while_a_table_is_small_does_not_read_all_of_it() -> None:
    """Guard: `enable_seqscan` of a brief transaction. By the statistics a row costs less to find by reading the
    one page that there is. A plan is kept with what it was made for."""
    statements.execute("CREATE TEMPORARY TABLE small (id integer PRIMARY KEY) ON COMMIT DROP")
    statements.execute("INSERT INTO small VALUES (1)")
    statements.execute("ANALYZE small")
    wanted = "EXPLAIN SELECT 1 FROM small WHERE id = 1"
    assert "Seq Scan" in str(statements.execute(wanted))
    with database.brief_transaction():
        assert "small_pkey" in str(statements.execute(wanted))


def test_an_index_is_read_in_the_way_that_marks_what_is_dead_in_it() -> None:
    """Guard: `enable_bitmapscan` of a brief transaction that `scans_plainly`."""
    statements.execute("CREATE TEMPORARY TABLE task (worker integer, data text) ON COMMIT DROP")
    statements.execute("INSERT INTO task SELECT random() * 1000, repeat('x', 200) FROM generate_series(1, 5000)")
    statements.execute("CREATE INDEX holder ON task (worker)")
    statements.execute("ANALYZE task")
    wanted = "EXPLAIN SELECT worker, COUNT(data) FROM task WHERE worker BETWEEN 1 AND 100 GROUP BY worker"
    assert "Bitmap" in str(statements.execute(wanted))
    with database.brief_transaction(scans_plainly=True):
        assert "Index Scan using holder" in str(statements.execute(wanted))
        with database.with_bitmaps():
            assert "Bitmap" in str(statements.execute(wanted))
        assert "Index Scan using holder" in str(statements.execute(wanted))


@pytest.mark.django_db(transaction=True)  # what was set for the transactions before is over then
def test_the_tick_asks_what_is_due_of_the_indexes_whatever_is_known_of_the_table() -> None:
    """Guard: the order in which `maintenance` asks for them. Without statistics, as in a table's first minutes, a
    third of the tasks are thought to be due, and to look through all of them for one the quickest way."""
    assigned(session(), 5)
    pending(500)
    books = activity.Books()
    (plan,) = plans_of(lambda: maintenance.tick(NOW, access.Watch(new_id()), books), "queueapp_changedkey")
    for index in ("task_deadline", "task_delayed", "task_expiry", "delivery_due"):
        assert index in plan, plan
    assert "Seq Scan on queueapp_task" not in plan, plan
