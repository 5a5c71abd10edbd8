"""What all tests share: how hypothesis searches, that no thread keeps a connection, and that no limit of time is
near. Where their files go is settled in `environment.py`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import settings

from queueapp import database, portions, retention, searching
from queueapp.conf import config
from tests.pool import until_threads_gave_theirs_back

settings.register_profile("default", deadline=None, max_examples=100, print_blob=True)
settings.register_profile("ci", settings.get_profile("default"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")


@pytest.fixture(autouse=True)
def _threads_give_back_their_connections() -> Iterator[None]:
    yield
    until_threads_gave_theirs_back()


FAR = 60.0
"""Seconds: as if there were no limit, and a test that needs one ends all the same."""


@pytest.fixture(autouse=True)
def _no_limit_of_time_is_near(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is found and counted in time, and which transaction is ended, is not to depend on how many tests share
    the machine. Tests of these limits have their own. (Server processes that tests start have the real ones.)"""
    monkeypatch.setattr(portions, "SECONDS", FAR)
    monkeypatch.setattr(searching, "NEWEST_SECONDS", FAR)
    monkeypatch.setattr(retention, "STATEMENT_SECONDS", FAR)
    if database.is_postgresql():
        monkeypatch.setattr(portions, "STATEMENT_SECONDS", FAR)
        # A transaction that stands still is ended after a third of a lease.
        monkeypatch.setattr(database, "config", lambda: replace(config(), lease_seconds=5 * FAR))
