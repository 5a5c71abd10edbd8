"""Times from outside are RFC 3339."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from queueapp.domain.times import parse_rfc3339

NOON = datetime(2030, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "2030-01-31T12:00:00Z",
        "2030-01-31t12:00:00z",
        "2030-01-31 12:00:00Z",
        "2030-01-31T12:00:00.000Z",
        "2030-01-31T12:00:00.0000000001Z",
        "2030-01-31T14:00:00+02:00",
        "2030-01-31T07:30:00-04:30",
    ],
)
def test_each_of_its_forms_is_read(text: str):
    assert parse_rfc3339(text) == NOON


@pytest.mark.parametrize(
    "text",
    [
        "",
        "noon",
        "2030-01-31",
        "2030-01-31T12:00:00",
        "2030-01-31T12Z",
        "2030-01-31T12:00Z",
        "20300131T120000Z",
        "2030-W05-4T12:00:00Z",
        "2030-02-30T12:00:00Z",
        "2030-01-31T25:00:00Z",
        "٢030-01-31T12:00:00Z",
        "2030-01-31T12:00:00Z ",
        "0001-01-01T00:00:00+01:00",
        "9999-12-31T23:59:59-01:00",
    ],
)
def test_nothing_else_is(text: str):
    with pytest.raises(ValueError, match="RFC 3339"):
        parse_rfc3339(text)
