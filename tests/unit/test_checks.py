"""System checks: each wrong set-up is named, and the right ones pass."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import environ
import pytest
from django.core.checks import Error, registry
from django.core.checks.registry import Tags

from queueapp import checks
from queueapp.checks import CORE_MODULE, MEMORY_LAYER, PUBSUB_LAYER, Setup, faults
from queueapp.conf import Config
from workqueue_project.postgresql import postgresql

DJANGOS_OWN = "django.db.backends.postgresql"
ROOT = Path(__file__).resolve().parents[2]

EMBEDDED = Setup(
    database={
        "ENGINE": "django.db.backends.sqlite3",
        "OPTIONS": {"transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=WAL;"},
    },
    layer=MEMORY_LAYER,
    redis_url="",
    debug=False,
    config=Config(),
)
CLUSTER = Setup(
    database=postgresql(environ.Env.db_url_config("postgres://db/queue"), Config()),
    layer=PUBSUB_LAYER,
    redis_url="redis://redis",
    debug=False,
    config=Config(),
)


def ids(setup: Setup) -> set[str]:
    return {str(fault.id) for fault in faults(setup)}


def database(setup: Setup, **changed: Any) -> Setup:
    return replace(setup, database={**setup.database, **changed})


def options(setup: Setup, **changed: Any) -> Setup:
    return database(setup, OPTIONS={**setup.options, **changed})


def times(**changed: float) -> Setup:
    return replace(EMBEDDED, config=Config(**changed))


@pytest.mark.parametrize(
    "setup",
    [EMBEDDED, CLUSTER, database(CLUSTER, ENGINE=DJANGOS_OWN, CONN_HEALTH_CHECKS=True)],
    ids=["embedded", "cluster", "a cluster with Django's own pool"],
)
def test_a_right_setup_passes(setup):
    assert ids(setup) == set()


WRONG = {
    "a database that it does not know": (database(EMBEDDED, ENGINE="django.db.backends.mysql"), "E001"),
    "SQLite and REDIS_URL": (replace(EMBEDDED, redis_url="redis://redis", layer=PUBSUB_LAYER), "E002"),
    "SQLite and a layer between processes": (replace(EMBEDDED, layer=PUBSUB_LAYER), "E002"),
    "SQLite with deferred transactions": (options(EMBEDDED, transaction_mode="DEFERRED"), "E003"),
    "SQLite without a mode": (options(EMBEDDED, transaction_mode=None), "E003"),
    "SQLite without WAL": (options(EMBEDDED, init_command="PRAGMA synchronous=NORMAL;"), "W001"),
    "no pool": (options(CLUSTER, pool=None), "W002"),
    "a pool without checks": (database(CLUSTER, ENGINE=DJANGOS_OWN), "E004"),
    "connections kept by Django": (database(CLUSTER, CONN_MAX_AGE=60), "E005"),
    "connections kept for ever": (database(CLUSTER, CONN_MAX_AGE=None), "E005"),
    "the core layer": (replace(CLUSTER, layer=f"{CORE_MODULE}RedisChannelLayer"), "E006"),
    "REDIS_URL and the in-memory layer": (replace(CLUSTER, layer=MEMORY_LAYER), "E007"),
    "PostgreSQL and the in-memory layer": (replace(CLUSTER, layer=MEMORY_LAYER, redis_url=""), "W003"),
    "PostgreSQL and no layer": (replace(CLUSTER, layer="", redis_url=""), "W003"),
    "a lease that one late renewal ends": (times(lease_seconds=1.9), "E008"),
    "a lease that outlasts the promise": (times(lease_seconds=9.1), "W004"),
    "no pings": (times(ping_interval_seconds=0), "E009"),
    "no patience for a pong": (times(ping_timeout_seconds=0.5), "E009"),
    "a secret that is none": (times(callback_secret="secret"), "E010"),
    "a network that is none": (times(callback_allowed_networks="inside"), "E011"),
    "no time for a callback": (times(callback_timeout_seconds=0), "E012"),
    "less than no time for what is over": (times(audit_retention_days=-1), "E013"),
    "more than all time for what is over": (times(task_retention_days=float("inf")), "E013"),
    "no number of days": (times(task_retention_days=float("nan")), "E013"),
    "too much patience for a pong": (times(ping_timeout_seconds=15), "W005"),
}


class TestAWrongSetup:
    @pytest.mark.parametrize(("setup", "expected"), WRONG.values(), ids=WRONG)
    def test_is_named_and_nothing_else_is(self, setup, expected):
        assert ids(setup) == {f"workqueue.{expected}"}

    @pytest.mark.parametrize("setup", [setup for setup, _ in WRONG.values()], ids=WRONG)
    def test_is_told_with_what_to_do(self, setup):
        assert all(fault.hint for fault in faults(setup))

    @pytest.mark.parametrize("setup", [setup for setup, _ in WRONG.values()], ids=WRONG)
    def test_is_an_error_or_a_warning_as_its_id_says(self, setup):
        for fault in faults(setup):
            assert isinstance(fault, Error) == str(fault.id).startswith("workqueue.E")

    def test_of_each_kind_is_tried_here(self):
        """An id that no test makes appear might never."""
        source = Path(checks.__file__).read_text()
        assert {f'"workqueue.{expected}"' for _, expected in WRONG.values()} == set(
            re.findall(r'"workqueue\.[EW]\d+"', source)
        )


class TestTimes:
    def test_a_dead_process_and_a_silent_worker_are_found_in_the_promised_time_by_default(self):
        default = Config()
        assert default.lease_seconds + default.poll_interval_seconds <= 10
        assert default.ping_interval_seconds + default.ping_timeout_seconds < 25

    def test_a_lease_of_two_polls_is_enough(self):
        assert ids(times(lease_seconds=2, poll_interval_seconds=1)) == set()


def test_in_development_one_process_on_postgresql_is_nothing_to_warn_of():
    assert ids(replace(CLUSTER, layer=MEMORY_LAYER, redis_url="", debug=True)) == set()


def test_the_checks_are_registered_and_do_not_wait_for_a_database_to_be_named():
    assert checks.check_setup in registry.registry.get_checks()
    assert Tags.database not in checks.check_setup.tags  # type: ignore[attr-defined]


class TestTheCommand:
    """`manage.py check`, as `make check` and every `serve` run it. The addresses lead nowhere."""

    POSTGRESQL = {"DATABASE_URL": "postgres://nobody@127.0.0.1:1/nothing"}
    REDIS = {"REDIS_URL": "redis://127.0.0.1:1"}

    def check(self, directory: Path, environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("WORKQUEUE_", "DATABASE_URL", "REDIS_URL", "DEBUG"))
        }
        return subprocess.run(
            [sys.executable, "manage.py", "check", "--fail-level", "WARNING"],
            cwd=ROOT,
            env={**inherited, "SECRET_KEY": "x", "WORKQUEUE_DATA_DIR": str(directory), **environment},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    @pytest.mark.parametrize("environment", [{}, {**POSTGRESQL, **REDIS}], ids=["embedded", "cluster"])
    def test_passes_the_projects_own_setups(self, tmp_path, environment):
        checked = self.check(tmp_path, environment)
        assert checked.returncode == 0, checked.stderr

    @pytest.mark.parametrize(
        ("environment", "expected"),
        [(REDIS, "E002"), (POSTGRESQL, "W003")],
        ids=["redis alone", "postgresql alone"],
    )
    def test_fails_half_a_cluster(self, tmp_path, environment, expected):
        checked = self.check(tmp_path, environment)
        assert checked.returncode == 1
        assert f"(workqueue.{expected})" in checked.stderr
