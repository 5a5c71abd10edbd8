"""A pytest plugin, loaded before Django's settings: the tests' files go into a directory that they take along.

The environment's own settings of the queue are set aside, so that the tests run the same everywhere.
"""

from __future__ import annotations

import os
import shutil
import tempfile

import pytest

if "PYTEST_XDIST_WORKER" not in os.environ:
    for name in list(os.environ):
        if name.startswith("WORKQUEUE_") or name in ("DATABASE_URL", "REDIS_URL", "DEBUG", "SECRET_KEY"):
            del os.environ[name]
    os.environ["WORKQUEUE_DATA_DIR"] = tempfile.mkdtemp(prefix="workqueue-tests-")


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        shutil.rmtree(os.environ["WORKQUEUE_DATA_DIR"], ignore_errors=True)
