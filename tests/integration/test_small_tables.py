"""Plans are kept for as long as a connection lives, and tables grow meanwhile."""

from __future__ import annotations

import pytest

from queueapp import database, statements

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
