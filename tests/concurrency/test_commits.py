"""Which commits wait for PostgreSQL's disk: those by which somebody is promised something."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection
from django.test import Client

from queueapp import database, lifecycle, sessions
from queueapp.auth import create_key
from queueapp.domain.submission import Submission
from queueapp.lifecycle import Report
from queueapp.models import Task, new_id
from queueapp.passes import Inbox, Pass
from queueapp.registration import parse_query
from queueapp.sessions import Attachment

pytestmark = pytest.mark.django_db(transaction=True)


class Written:
    """Notes, of each statement that changes tasks, whether its transaction waits for the disk."""

    def __init__(self) -> None:
        self.waits: list[str] = []

    def __call__(self, execute: Any, sql: str, *rest: Any) -> Any:
        done = execute(sql, *rest)
        if "INSERT INTO queueapp_task" in sql or "UPDATE queueapp_task" in sql:
            setting = connection.connection.execute("SHOW synchronous_commit").fetchone()
            self.waits.append(setting[0])
        return done

    def taken(self) -> list[str]:
        taken, self.waits = self.waits, []
        return taken


def test_a_submission_and_a_result_wait_and_an_assignment_does_not():
    here = Pass(sessions.start_node(database.now()))
    query = parse_query(b"task=tag", 100)
    worker = new_id()
    here.run(Inbox(attachments=[Attachment(worker, query.options, query.offers)]))
    written = Written()
    with connection.execute_wrapper(written):
        lifecycle.submit([Submission("tag", {})], None, database.now())
        assert written.taken() == ["on"]
        (assignment,) = here.run(Inbox(routes=list(Task.objects.values_list("route", flat=True)))).assignments
        assert written.taken() == ["off"]
        here.run(Inbox(reports=[Report(worker, assignment.task.task_id, done=True)]))
        assert written.taken() == ["on"]
    assert Task.objects.get().state == "succeeded"


class TestASubmissionWhoseSenderWaitsForItsEnd:
    """It waits for the disk once, with the result."""

    @pytest.fixture
    def commits(self) -> Iterator[Callable[[], list[str]]]:
        """Of each task that was stored since one asked last, whether its commit waited: PostgreSQL notes it."""
        with connection.cursor() as cursor:
            cursor.execute(
                """
                CREATE TABLE noted (setting text);
                CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                    INSERT INTO noted VALUES (current_setting('synchronous_commit')); RETURN NULL; END $$;
                CREATE CONSTRAINT TRIGGER noting AFTER INSERT ON queueapp_task DEFERRABLE INITIALLY DEFERRED
                    FOR EACH ROW EXECUTE FUNCTION note();
                """
            )

        def taken() -> list[str]:
            with connection.cursor() as cursor:
                cursor.execute("DELETE FROM noted RETURNING setting")
                return [setting for (setting,) in cursor.fetchall()]

        yield taken
        with connection.cursor() as cursor:
            cursor.execute("DROP TRIGGER noting ON queueapp_task; DROP FUNCTION note; DROP TABLE noted")

    def test_does_not_wait_by_itself(self, commits):
        """What is to be answered at once does, and so does what an answer is kept of."""
        _, token = create_key("a producer", "producer")
        client = Client(headers={"Authorization": f"Bearer {token}"})
        for headers, commit in (
            ({"Prefer": "wait=1"}, "off"),
            ({}, "on"),
            ({"Prefer": "wait=0"}, "on"),
            ({"Prefer": "wait=1", "Idempotency-Key": "k"}, "on"),
        ):
            answer = client.post("/api/v1/tasks", {"name": "t"}, content_type="application/json", headers=headers)
            assert (answer.status_code, commits()) == (201, [commit]), headers

    def test_is_on_the_disk_when_it_is_answered_before_the_end(self, monkeypatch):
        waits: list[None] = []
        until_on_disk = database.until_on_disk
        monkeypatch.setattr(database, "until_on_disk", lambda: waits.append(until_on_disk()))
        _, token = create_key("a producer", "producer")
        client = Client(headers={"Authorization": f"Bearer {token}", "Prefer": "wait=1"})
        answer = client.post("/api/v1/tasks", {"name": "t"}, content_type="application/json")
        assert (answer.json()["state"], len(waits)) == ("pending", 1)

    def test_is_on_the_disk_when_another_is_answered_with_it(self):
        """Whose sender did not make it, and has nothing to commit."""
        submission = Submission("tag", {}, unique_key="k")
        lifecycle.submit([submission], None, database.now(), waits_for_disk=False)
        committed = written_until()
        [receipt] = lifecycle.submit([submission], None, database.now())
        assert not receipt.created
        assert flushed_until() >= committed

    def test_is_on_the_disk_once_that_is_waited_for(self):
        lifecycle.submit([Submission("tag", {})], None, database.now(), waits_for_disk=False)
        committed = written_until()
        database.until_on_disk()
        assert flushed_until() >= committed


def written_until() -> int:
    """A place in PostgreSQL's log, behind all that is committed."""
    return _place("pg_current_wal_insert_lsn()")


def flushed_until() -> int:
    return _place("pg_current_wal_flush_lsn()")


def _place(function: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT ({function} - '0/0')::bigint")
        return cursor.fetchone()[0]
