"""`Prefer: wait=SECONDS`, as RFC 7240 writes it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from django.conf import settings as project_settings

from queueapp.api.parameters import preferred_wait_seconds


@pytest.mark.parametrize(
    ("prefer", "seconds"),
    [
        ("wait=10", 10),
        ("Wait = 10", 10),
        ('wait="10"', 10),
        ("respond-async, wait=10", 10),
        ("respond-async,wait=10 ; x=y, handling=lenient", 10),
        ("wait=10, wait=20", 10),
        ("wait=999999999", 300),
        ("", 0),
        ("wait", 0),
        ("wait=", 0),
        ("wait=-1", 0),
        ("wait=1.5", 0),
        ("wait=soon", 0),
        ("wait=٣", 0),
        ("await=10", 0),
        ("return=minimal; wait=10", 0),
        ("respond-async wait=10", 0),
    ],
)
def test_is_read_as_it_is_meant(prefer: str, seconds: float):
    assert preferred_wait_seconds({"Prefer": prefer}) == seconds


def test_is_capped_by_the_setting(settings: Any):
    settings.WORKQUEUE = replace(project_settings.WORKQUEUE, max_wait_seconds=7)
    assert preferred_wait_seconds({"Prefer": "wait=10"}) == 7
