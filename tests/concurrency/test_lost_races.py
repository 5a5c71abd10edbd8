"""Verbs that are called outside a pass begin again when PostgreSQL has ended their transaction for another's sake.
A pass is run again by its hub.

A trigger raises once what PostgreSQL raises then: a race that is lost for certain.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from django.db import connection

from queueapp import lifecycle, naming, queues, sessions
from queueapp.models import Node
from tests.integration import rows
from tests.integration.rows import NOW, submission

pytestmark = pytest.mark.django_db(transaction=True)


@contextmanager
def the_first_change_loses(table: str) -> Iterator[None]:
    """That of the table's rows; a sequence counts, since it keeps its number when a transaction is rolled back."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"""
            CREATE SEQUENCE changes;
            CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                IF nextval('changes') = 1 THEN RAISE 'deadlock detected' USING ERRCODE = '40P01'; END IF;
                RETURN NULL;
            END $$;
            CREATE TRIGGER lose BEFORE INSERT OR UPDATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION lose();
            """
        )
        try:
            yield
            cursor.execute("SELECT last_value, is_called FROM changes")
            changes, is_called = cursor.fetchone()
            assert is_called, "nothing was changed"
            assert changes > 1, "nobody has tried again"
        finally:
            cursor.execute(f"DROP TRIGGER lose ON {table}; DROP FUNCTION lose; DROP SEQUENCE changes")


def submit_one() -> None:
    [receipt] = lifecycle.submit([submission()], None, NOW)
    assert rows.row(receipt.task_id).state == "pending"


def cancel_one() -> Callable[[], None]:
    task_ids = rows.pending()

    def cancel():
        assert lifecycle.cancel(task_ids, NOW) == set(task_ids)

    return cancel


def retry_one(**members) -> Callable[[], None]:
    task_ids = rows.pending(**members)
    lifecycle.cancel(task_ids, NOW)

    def retry():
        assert lifecycle.retry(task_ids, NOW) == set(task_ids)

    return retry


def drain_one() -> Callable[[], None]:
    worker = rows.session()

    def drain():
        assert sessions.drain([worker.id]) == {worker.id}

    return drain


def disconnect_one() -> Callable[[], None]:
    worker = rows.session()

    def disconnect():
        assert sessions.disconnect([worker.id], NOW) == {worker.id}

    return disconnect


def pause_one() -> Callable[[], None]:
    naming.make_queues(["tag"])

    def pause():
        assert queues.pause(["tag"], "me", "", NOW) == {"tag"}

    return pause


def resume_one() -> Callable[[], None]:
    pause_one()()

    def resume():
        assert queues.resume(["tag"]) == {"tag"}

    return resume


def start_one() -> None:
    assert Node.objects.running().filter(pk=sessions.start_node(NOW)).exists()


def stop_one() -> Callable[[], None]:
    node = rows.node()

    def stop():
        sessions.stop_node(node.pk, NOW)
        assert not Node.objects.running().exists()

    return stop


@pytest.mark.parametrize(
    ("table", "prepare"),
    [
        ("queueapp_task", lambda: submit_one),
        ("queueapp_task", cancel_one),
        ("queueapp_task", retry_one),
        ("queueapp_task", lambda: retry_one(unique_key="k")),
        ("queueapp_workersession", drain_one),
        ("queueapp_workersession", disconnect_one),
        ("queueapp_queue", pause_one),
        ("queueapp_queue", resume_one),
        ("queueapp_node", lambda: start_one),
        ("queueapp_node", stop_one),
    ],
    ids=[
        "submit",
        "cancel",
        "retry",
        "retry of a unique key",
        "drain",
        "disconnect",
        "pause",
        "resume",
        "start of a node",
        "stop of a node",
    ],
)
def test_what_lost_against_another_is_done_again(table, prepare):
    """Guard: `database.retried` on each of the verbs."""
    act = prepare()
    with the_first_change_loses(table):
        act()
