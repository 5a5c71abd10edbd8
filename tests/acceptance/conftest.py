"""A running server for the tests here."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from processes import Server, prepared_in, started_copy


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with prepared_in(tmp_path_factory.mktemp("prepared")) as prepared:
        yield prepared


@pytest.fixture
def server(prepared: Server, tmp_path: Path) -> Iterator[Server]:
    with started_copy(prepared, tmp_path) as server:
        yield server


@pytest.fixture(scope="session")
def long(pytestconfig: pytest.Config) -> bool:
    """Whether to take the times that are promised rather than short ones."""
    return bool(pytestconfig.getoption("--long"))
