"""Settings from the environment."""

from __future__ import annotations

import pytest
from django.core.exceptions import ImproperlyConfigured

from queueapp.conf import Config


@pytest.mark.parametrize(("text", "is_set"), [("1", True), ("true", True), ("0", False), ("False", False)])
def test_a_switch_is_on_or_off(text: str, is_set: bool):
    assert Config.from_environment({"WORKQUEUE_METRICS_NEED_KEY": text}).metrics_need_key is is_set


@pytest.mark.parametrize(
    ("name", "text"), [("METRICS_NEED_KEY", "perhaps"), ("MAX_OUTSTANDING", "many"), ("LEASE_SECONDS", "")]
)
def test_what_cannot_be_read_is_named(name: str, text: str):
    with pytest.raises(ImproperlyConfigured, match=f"WORKQUEUE_{name}"):
        Config.from_environment({f"WORKQUEUE_{name}": text})
