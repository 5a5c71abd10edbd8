"""A pytest plugin, loaded before Django's settings: what the tests run on, which they take along when they end.

`--database=sqlite` (the default) is the embedded set-up. With `--database=postgresql` the tests that touch the
database run on real PostgreSQL and Redis servers: those of TEST_DATABASE_URL (any database of a server on which
the user may create some) and TEST_REDIS_URL, else ones of our own. Without a server the run fails.

`--long` is for `make chaos`: the same tests with the times of the guarantees instead of short ones.

The environment's own settings of the queue are set aside, so that the tests run the same everywhere.
"""

from __future__ import annotations

import atexit
import os
import signal
import tempfile
from collections.abc import Generator
from itertools import groupby
from pathlib import Path
from uuid import uuid4

import pytest

from tests.servers import Leash, PostgresServer, RedisServer, ServerError, at_database

ON_BOTH = ("integration", "transports", "acceptance")
"""Directories of tests that run on PostgreSQL too; elsewhere those marked `django_db`."""
ON_POSTGRESQL = ("concurrency", "browser")
"""Races: SQLite has one writer, so there they cannot happen. A browser, which takes long, sees operators' pages
over the database that large installations have."""

LONG = ("conformance", "chaos", "simulation", "stateful", "browser", "acceptance")
"""Directories of tests that take long, the longest first. Many of them wait for what other processes do."""

TESTS = Path(__file__).parent


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--database", choices=("sqlite", "postgresql"), default="sqlite", help="what the tests run on"
    )
    parser.addoption("--long", action="store_true", help="outages and silences as long as those that are promised")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None]:
    """Before pytest-django, which loads the settings here. Processes of xdist inherit what the first one made."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        try:
            _prepare(early_config.known_args_namespace.database)
        except ServerError as error:
            raise pytest.UsageError(str(error)) from None
    # Each process its own: rings of one test must not be heard in another.
    os.environ["WORKQUEUE_CHANNEL_PREFIX"] = f"workqueue-{uuid4().hex}"
    return (yield)


def _prepare(database: str) -> None:
    for name in list(os.environ):
        if name.startswith("WORKQUEUE_") or name in ("DATABASE_URL", "REDIS_URL", "DEBUG", "SECRET_KEY"):
            del os.environ[name]
    # As Ctrl-C, after which pytest and what is registered below tidy up.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    directory = tempfile.mkdtemp(prefix="workqueue-tests-")
    atexit.register(Leash(Path(directory)).close)
    os.environ["WORKQUEUE_DATA_DIR"] = directory
    # `tmp_path` goes there too; what a failed test wrote is kept with `--basetemp=DIRECTORY`.
    os.environ["PYTEST_DEBUG_TEMPROOT"] = directory
    if database == "postgresql":
        for variable, kind in (("TEST_DATABASE_URL", PostgresServer), ("TEST_REDIS_URL", RedisServer)):
            if not os.environ.get(variable):
                server = kind()
                atexit.register(server.close)
                server.start()
                os.environ[variable] = server.url
        # Django makes `test_…` of the name, so that two runs can share a server.
        os.environ["DATABASE_URL"] = at_database(os.environ["TEST_DATABASE_URL"], f"workqueue_{uuid4().hex[:12]}")
        os.environ["REDIS_URL"] = os.environ["TEST_REDIS_URL"]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "only_on(database, reason): runs on that database alone, sqlite or postgresql, for that reason"
    )


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what the database of this run has nothing to do with."""
    database = config.getoption("database")
    left_out = [item for item in items if not _runs_on(database, item)]
    if left_out:
        items[:] = [item for item in items if _runs_on(database, item)]
        config.hook.pytest_deselected(items=left_out)
    items[:] = _shared_out(items, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))


@pytest.hookimpl(tryfirst=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two more than there are cores, for what waits: with two on two cores a quarter of the time was nobody's."""
    return (os.cpu_count() or 1) + 2


def _shared_out(items: list[pytest.Item], processes: int) -> list[pytest.Item]:
    """Each process is given as many tests as the others, one run of them, and takes others' when it has done its
    own. So in each run what takes long comes first: at the end one would be busy with it, and the others idle."""
    modules = [list(tests) for _, tests in groupby(sorted(items, key=_duration), key=lambda item: item.path)]
    shares: list[list[pytest.Item]] = [[] for _ in range(processes)]
    quick: list[pytest.Item] = []
    for number, tests in enumerate(modules):
        (shares[number % processes] if _duration(tests[0]) < len(LONG) else quick).extend(tests)
    for number, share in enumerate(shares):
        room = max(0, (len(items) + number) // processes - len(share))
        share += quick[:room]
        del quick[:room]
    return [item for share in shares for item in share] + quick


def _duration(item: pytest.Item) -> int:
    """The higher, the shorter it is thought to be."""
    parts = item.path.parts
    return next((place for place, directory in enumerate(LONG) if directory in parts), len(LONG))


def _runs_on(database: str, item: pytest.Item) -> bool:
    marker = item.get_closest_marker("only_on")
    if marker is not None:
        return marker.args[0] == database
    directory = item.path.relative_to(TESTS).parts[0] if item.path.is_relative_to(TESTS) else ""
    if database == "sqlite":
        return directory not in ON_POSTGRESQL
    return directory in (*ON_BOTH, *ON_POSTGRESQL) or item.get_closest_marker("django_db") is not None
