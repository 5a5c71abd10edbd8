"""What a server process asks of its database before it begins: whether it has been migrated."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

from queueapp.server.migrations import missing_migrations

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def without(*names: str) -> Iterator[None]:
    """The database, as if these migrations had not been applied."""
    recorder = MigrationRecorder(connection)
    for name in names:
        recorder.record_unapplied("queueapp", name)
    try:
        yield
    finally:
        for name in names:
            recorder.record_applied("queueapp", name)


@pytest.mark.django_db(transaction=True)
class TestADatabase:
    def test_that_is_migrated_lacks_nothing(self):
        assert missing_migrations() == []

    def test_that_is_behind_lacks_what_migrate_would_apply(self):
        with without("0014_operation_portion", "0015_activity"):
            assert missing_migrations() == ["queueapp.0014_operation_portion", "queueapp.0015_activity"]

    def test_that_is_ahead_lacks_nothing(self):
        recorder = MigrationRecorder(connection)
        recorder.record_applied("queueapp", "9999_of_the_next_version")
        try:
            assert missing_migrations() == []
        finally:
            recorder.record_unapplied("queueapp", "9999_of_the_next_version")


def test_a_database_that_cannot_be_reached_is_not_waited_for(tmp_path):
    """As the pool would wait for it."""
    program = (
        "import django; django.setup()\n"
        "from django.db import connection\n"
        "from queueapp.server.migrations import missing_migrations\n"
        "print(missing_migrations(), list(connection._connection_pools))"
    )
    environment = {
        **os.environ,
        "DJANGO_SETTINGS_MODULE": "workqueue_project.settings",
        "SECRET_KEY": "x",
        "WORKQUEUE_DATA_DIR": str(tmp_path),
        "DATABASE_URL": "postgres://nobody@127.0.0.1:1/nothing",
    }
    asked = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
    )
    assert asked.stdout.split("\n")[0] == "[] []", asked.stderr
