"""What all tests share: how hypothesis searches, and that no thread keeps a connection. Where their files go is
settled in `environment.py`."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from tests.pool import until_threads_gave_theirs_back

settings.register_profile("default", deadline=None, max_examples=100, print_blob=True)
settings.register_profile("ci", settings.get_profile("default"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")


@pytest.fixture(autouse=True)
def _threads_give_back_their_connections() -> Iterator[None]:
    yield
    until_threads_gave_theirs_back()
