"""A real server whose patience is short, and worker programs, for the conformance run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "acceptance"))

from processes import Server, prepared_in, started_copy
from tampering import PING_INTERVAL_SECONDS, PING_TIMEOUT_SECONDS, REGISTRATION_TIMEOUT_SECONDS

SHORT = {
    "WORKQUEUE_REGISTRATION_TIMEOUT_SECONDS": str(REGISTRATION_TIMEOUT_SECONDS),
    "WORKQUEUE_PING_INTERVAL_SECONDS": str(PING_INTERVAL_SECONDS),
    "WORKQUEUE_PING_TIMEOUT_SECONDS": str(PING_TIMEOUT_SECONDS),
}


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with prepared_in(tmp_path_factory.mktemp("prepared")) as prepared:
        yield prepared


@pytest.fixture(scope="module")
def server(prepared: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with started_copy(prepared, tmp_path_factory.mktemp("conformance"), **SHORT) as server:
        yield server
