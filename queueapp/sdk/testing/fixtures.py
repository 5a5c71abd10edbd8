"""The fixture `workqueue`. A conftest.py gets it by `from queueapp.sdk.testing.fixtures import workqueue`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from queueapp.sdk.testing.local_server import LocalServer


@pytest.fixture
def workqueue() -> Iterator[LocalServer]:
    with LocalServer() as server:
        yield server
