"""A server process that is stopped (SIGSTOP, a frozen machine) while it holds a transaction open."""

from __future__ import annotations

import psycopg
import pytest
from django.db import OperationalError, connection

from queueapp.lifecycle import Report
from queueapp.models import Task
from queueapp.passes import Inbox
from tests.integration.fleet import Fleet, submit

pytestmark = pytest.mark.django_db(transaction=True)


def test_the_results_of_a_pass_that_outlived_its_transaction_are_kept_for_the_next():
    """Proves `database.noticing_loss`: PostgreSQL ends the connection with an error that is no OperationalError,
    and the results would be dropped as ones that cannot be written."""
    fleet = Fleet()
    (worker,) = fleet.attach("task=t")
    (task_id,) = submit()
    fleet.run()
    fleet.unlisten()
    inbox = Inbox(reports=[Report(worker, task_id, done=True)])
    stopped: list[int] = []

    def stop(execute, sql, params, many, context):
        if "WITH report" in sql and not stopped:
            execute("SET LOCAL idle_in_transaction_session_timeout = '20ms'", None, False, context)
            stopped.append(connection.connection.info.backend_pid)
            wait_until_gone(stopped[0])
        return execute(sql, params, many, context)

    with connection.execute_wrapper(stop), pytest.raises(OperationalError):
        fleet.process.run(inbox)
    connection.close()  # as the hub does
    assert Task.objects.get(pk=task_id).state == "assigned"
    (verdict,) = [verdict for _, verdict in fleet.process.run(inbox).verdicts]
    assert verdict == "accepted"


def wait_until_gone(pid: int) -> None:
    settings = connection.settings_dict
    with psycopg.connect(
        dbname=settings["NAME"], user=settings["USER"], host=settings["HOST"], port=settings["PORT"] or None
    ) as other:
        while other.execute("SELECT 1 FROM pg_stat_activity WHERE pid = %s", [pid]).fetchone():
            other.rollback()
