"""What becomes of a DATABASE_URL of PostgreSQL."""

from __future__ import annotations

from typing import Any

import environ
import pytest

from queueapp.conf import Config
from workqueue_project.postgresql import postgresql


def settings_for(url: str, **fields: Any) -> dict[str, Any]:
    return postgresql(environ.Env.db_url_config(url), Config(**fields))


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("postgres://ada:l%40ce@db:5433/queue", ("db", 5433, "ada", "l@ce", "queue")),
        ("postgresql://db/queue", ("db", "", "", "", "queue")),
        ("postgres:///queue?host=/run/postgresql", ("/run/postgresql", "", "", "", "queue")),
        ("postgres://ada@/queue?host=/run/postgresql&port=5433", ("/run/postgresql", 5433, "ada", "", "queue")),
    ],
)
def test_the_address_may_stand_in_the_url_or_its_query(url, address):
    settings = settings_for(url)
    assert tuple(settings[part] for part in ("HOST", "PORT", "USER", "PASSWORD", "NAME")) == address
    assert not settings["OPTIONS"].keys() & {"host", "port", "user", "password"}


def test_connections_are_pooled():
    settings = settings_for("postgres://db/queue", database_pool_size=7, database_pool_timeout_seconds=0.5)
    assert settings["CONN_MAX_AGE"] == 0
    pool = settings["OPTIONS"]["pool"]
    assert (pool["max_size"], pool["timeout"]) == (7, 0.5)


def test_limits_are_sent_in_milliseconds():
    options = settings_for("postgres://db/queue", statement_timeout_seconds=1.5, lock_timeout_seconds=0)["OPTIONS"]
    assert "-c statement_timeout=1500 -c lock_timeout=0 " in options["options"]


def test_what_the_url_says_goes_before():
    url = "postgres://db/queue?connect_timeout=9&sslmode=require&options=-c%20statement_timeout%3D7"
    options = settings_for(url)["OPTIONS"]
    assert (options["connect_timeout"], options["sslmode"]) == (9, "require")
    assert options["options"].endswith("-c statement_timeout=7")  # the last one counts
