"""A whole number may be written with a point: JSON, and JSON Schema with it, knows one kind of number."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from queueapp.domain.errors import InvalidSubmission
from queueapp.domain.submission import Limits
from queueapp.intake import read_submission

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def read(field: str, text: str) -> object:
    return getattr(read_submission(f'{{"name": "a", "{field}": {text}}}'.encode(), NOW, Limits()), field)


@pytest.mark.parametrize("field", ["priority", "max_attempts"])
@pytest.mark.parametrize("text", ["7.0", "7e0", "70E-1"])
def test_one_with_a_point_or_an_exponent_is_taken_as_an_int(field: str, text: str):
    assert read(field, text) == 7
    assert isinstance(read(field, text), int)


@pytest.mark.parametrize("field", ["priority", "max_attempts"])
@pytest.mark.parametrize("text", ["7.5", "1e300", "true", '"7"', "1e18"])
def test_anything_else_is_refused(field: str, text: str):
    with pytest.raises(InvalidSubmission):
        read(field, text)
