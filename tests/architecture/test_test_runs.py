"""Runs of the tests are as `tests/environment.py` says: a hook may be there, and another plugin's be asked."""

from __future__ import annotations

import os

import pytest


def test_have_more_processes_than_cores(request: pytest.FixtureRequest) -> None:
    config = request.config
    assert config.hook.pytest_xdist_auto_num_workers(config=config) > (os.cpu_count() or 1)
