"""Which commits wait for PostgreSQL's disk: those by which somebody is promised something."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection

from queueapp import database, lifecycle, sessions
from queueapp.domain.submission import Submission
from queueapp.inbox import Inbox
from queueapp.lifecycle import Report
from queueapp.models import Task, new_id
from queueapp.passes import Pass
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
