"""What all tests share: a database in a directory of its own, and how hypothesis searches."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings as project_settings
from hypothesis import settings

settings.register_profile("default", deadline=None, max_examples=100, print_blob=True)
settings.register_profile("ci", settings.get_profile("default"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "default")


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix: None) -> Iterator[None]:
    """SQLite's test database stands in a directory that each test process makes and removes."""
    with tempfile.TemporaryDirectory(prefix="workqueue-test-") as directory:
        database = project_settings.DATABASES["default"]
        if database["ENGINE"] == "django.db.backends.sqlite3":
            database["TEST"]["NAME"] = str(Path(directory) / "test.sqlite3")
        yield
